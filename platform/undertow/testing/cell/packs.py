"""The check of a cell in a pack: replicates whose weights are slices of one stack, called side by side."""

import torch
from torch import Tensor

from undertow.api.contract import Vector
from undertow.nn.model import SequenceModel
from undertow.nn.pack import Pack, draws_random_numbers
from undertow.testing.asserts import expect, expect_close
from undertow.testing.cell._base import IN, CellChecks, gradients_of, noise

_TOLERANCE = 1e-12
_REMEDY = (
    "Replicates are called together by torch.func.vmap over the weights. So a step may not depend on the value of a "
    "tensor by `.item()`, `if x.max() > 1` or a mask as index (use torch.where), nor write into a new tensor (use "
    "torch.stack or torch.cat), and reads every weight from its parameter, not from a list. A cell that needs such a "
    "step is trained one replicate at a time: declare it in `expected_failures`."
)


class PackChecks(CellChecks):
    """Replicates side by side."""

    def test_packs(self) -> None:
        """Do replicates side by side compute what each computes alone, in training mode, with all gradients?"""
        if draws_random_numbers(self._network(0)):
            self.skip("it draws random numbers in training mode")
        for replicates in (1, 3):
            models, alone = ([self._network(seed) for seed in range(replicates)] for _ in range(2))
            for one, other in zip(alone, models, strict=True):
                one.load_state_dict(other.state_dict())
            pack = Pack(models)
            expect(not pack.reason, f"{replicates} side by side: {pack.reason}. {_REMEDY}")
            x_SBTI = torch.stack([noise(seed=seed).transpose(0, 1) for seed in range(replicates)])
            output_SBTO = pack(x_SBTI)
            trained = [name for name, stack in pack.stack.items() if stack.requires_grad]
            by_stack = gradients_of(_loss(output_SBTO), [pack.stack[name] for name in trained])
            for place, model in enumerate(alone):
                with model.stepping(pack.by_steps):
                    alone_BTO = model(x_SBTI[place])
                gradients = gradients_of(_loss(alone_BTO), [model.get_parameter(name) for name in trained])
                label = f"replicate {place} of {replicates} side by side against alone"
                expect_close(output_SBTO[place], alone_BTO, f"output, {label}", _REMEDY, _TOLERANCE)
                for name, stacked, expected in zip(trained, by_stack, gradients, strict=True):
                    expect_close(stacked[place], expected, f"gradient of `{name}`, {label}", _REMEDY, _TOLERANCE)

    def _network(self, seed: int) -> SequenceModel:
        """A network in training mode with the weights of a seed; what a cell draws and does not save is that of 0."""
        cell = self.build()
        cell.load_state_dict(self.build(seed=seed).state_dict())
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(seed)
            model = SequenceModel([cell], inputs=Vector(IN), output_size=2, shape="aligned")
        model.head.double()
        return model.train()


def _loss(output: Tensor) -> Tensor:
    """A loss over all outputs, each step with a weight of its own."""
    weights_T1 = torch.arange(1, output.shape[-2] + 1, dtype=output.dtype).unsqueeze(1)
    return (output.square() * weights_T1).sum()
