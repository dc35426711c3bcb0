"""Checks of a cell in mixed precision and on a GPU."""

import torch

from undertow.nn.isolation import isolated
from undertow.testing.asserts import expect, expect_close, expect_finite
from undertow.testing.cell._base import B, CellChecks, T, all_gradients, gradients_of, noise


class DeviceChecks(CellChecks):
    """Precisions and devices."""

    def test_survives_autocast(self) -> None:
        """In mixed precision (bfloat16), does it run in pieces and backward, near the result in 32 bits?"""
        cell = self.build(dtype=torch.float32)
        x_TBI = noise(dtype=torch.float32)
        for how, run in self.unrolls(cell).items():
            expected_TBH, _ = run(cell, x_TBI, cell.initial_state(B))
            try:
                with torch.autocast("cpu", torch.bfloat16):
                    first_TBH, state = run(cell, x_TBI[: T // 2], cell.initial_state(B))
                    second_TBH, _ = run(cell, x_TBI[T // 2 :], state)
                y_TBH = torch.cat([first_TBH.float(), second_TBH.float()])
                gradients = gradients_of(y_TBH.square().sum(), list(cell.parameters()))
            except RuntimeError as error:
                raise AssertionError(
                    f"it fails under torch.autocast, {how}: {error}. Matrix products are in bfloat16 there, while the "
                    "state is in 32 bits: convert before you combine them, as in `h.to(z.dtype)`."
                ) from error
            for gradient in gradients:
                expect_finite(gradient, f"a gradient under torch.autocast, {how}", "Keep exponentials in 32 bits.")
            remedy = "Keep what must be exact in 32 bits: `with torch.autocast(x.device.type, enabled=False)`."
            expect_close(y_TBH, expected_TBH, f"output, bfloat16 against 32 bits, {how}", remedy, tolerance=0.1)

    def test_gpu_equals_cpu(self) -> None:
        """Are the gradients of input, state and every weight on a GPU those on the CPU?"""
        if not torch.cuda.is_available():
            self.skip("no CUDA device")
        cell, on_gpu = self.build(), self.build()
        on_gpu.load_state_dict(cell.state_dict())
        on_gpu = on_gpu.cuda()
        for how, run in self.unrolls(cell).items():
            with isolated(on_gpu):  # torch's fused kernels have no backward in evaluation mode
                found = all_gradients(on_gpu, run)
            for name, expected in all_gradients(cell, run).items():
                remedy = "Make every tensor on the cell's own device, from a parameter or a buffer."
                expect_close(found[name].cpu(), expected, f"gradient of {name}, GPU against CPU, {how}", remedy, 1e-8)
        for part in on_gpu.initial_state(B):
            expect(part.is_cuda, "initial_state of a cell on a GPU is on the CPU. Make it from a parameter.")
