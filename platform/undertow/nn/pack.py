"""Replicates side by side: S networks of one architecture whose parameters are slices of one stack.

    pack = Pack([model_0, model_1, model_2])
    output_SBO = pack(input_SBTI, target_SB)            # all replicates in the kernel calls of one
    optimizer = torch.optim.Adam(pack.parameters())     # one step for all: these optimisers are elementwise

Every parameter p of the networks is replaced by a view into ``pack.stack``: ``p.data = stack[name].data[s]``. So each
network stays an ordinary one that probes, checkpoints and `export` use as it is, and it changes with every step of the
optimiser. The networks are called together by `torch.func.vmap` of `functional_call`, as in torch's tutorial on
ensembles, or one by one, each on its fastest path (a fused kernel, a scan). Both compute the same up to rounding.

`vmap` has no rule for torch's fused recurrent kernels. A cell whose `scan` cannot be vmapped is run by its steps; one
whose steps cannot be vmapped either is run one by one, and `reason` says why.

S replicates, B batch, T time, I input, O output.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn import Parameter

from undertow.nn.model import SequenceModel

_TRIED = 2
"""Examples and time steps of the call that finds out how networks can be run."""


class Pack(nn.Module):
    """S networks over one stack of parameters.

    Args:
        models: Networks of one architecture. From now on their parameters and buffers are views of the stacks.

    Attributes:
        models: The networks; an index is a place in the stacks.
        stack: All parameters by name, each `(S, …)`; these are the parameters of this module.
        reason: Why the networks cannot be called side by side; empty if they can.
        together: Whether a call runs them side by side; False runs one by one.
        by_steps: Whether side by side their layers are run by their steps, because a `scan` cannot be vmapped.
    """

    def __init__(self, models: Sequence[SequenceModel]) -> None:
        super().__init__()
        self.models = list(models)
        self.stack: dict[str, Parameter] = {}
        self._buffer_stack: dict[str, Tensor] = {}
        for number, (name, first) in enumerate(models[0].named_parameters()):
            self.stack[name] = Parameter(_stacked(name, models), requires_grad=first.requires_grad)
            self.register_parameter(f"stack{number}", self.stack[name])
        for name, _ in models[0].named_buffers():
            self._buffer_stack[name] = _stacked(name, models)
        self._link()
        self.reason = self._why_not()
        self.together = not self.reason

    def __len__(self) -> int:
        return len(self.models)

    def forward(self, input: Tensor, target: Tensor | None = None, writes: int | None = None) -> Tensor:
        """Compute the outputs of all replicates.

        Args:
            input: `(S, B, T, I)` numbers or `(S, B, T)` tokens.
            target: As for `SequenceModel.forward`, with a leading S.
            writes: As for `SequenceModel.forward`.

        Returns:
            As `SequenceModel.forward`, with a leading S.
        """
        if self.together:
            return self._side_by_side(input, target, writes)
        return self._one_by_one(input, target, writes)

    def collect_gradients(self) -> None:
        """Add the gradients of the networks to those of the stack, after a backward pass that ran them one by one."""
        for name, gradients in self._of_each(lambda parameter: parameter.grad).items():
            if all(gradient is None for gradient in gradients):
                continue
            stack = self.stack[name]
            total = torch.stack([torch.zeros_like(stack[0]) if g is None else g for g in gradients])
            stack.grad = total if stack.grad is None else stack.grad.add_(total)
        for model in self.models:
            model.zero_grad()

    def gradient_norms(self) -> Tensor:
        """The norm of the whole gradient of each replicate, `(S,)`."""
        squares = [
            stack.grad.flatten(1).abs().square().sum(1) for stack in self.stack.values() if stack.grad is not None
        ]
        return torch.stack(squares).sum(0).sqrt()

    def relink(self) -> None:
        """Copy parameters and buffers that are no longer views, because a cell has replaced one, into the stack."""
        with torch.no_grad():
            for tensor, view in self._views():
                if tensor.data_ptr() != view.data_ptr():
                    view.copy_(tensor)
                    tensor.data = view

    def keep(self, places: Sequence[int], optimizers: Sequence[torch.optim.Optimizer] = ()) -> None:
        """Take replicates out of the pack; theirs become networks with parameters of their own.

        Args:
            places: The replicates that stay, in order.
            optimizers: Those of the stack; their state of the others is dropped.
        """
        self.relink()
        index = torch.tensor(places, device=next(iter(self.stack.values())).device)
        with torch.no_grad():
            for place, model in enumerate(self.models):
                if place not in places:
                    for tensor in (*model.parameters(), *model.buffers()):
                        tensor.data = tensor.detach().clone()
            for stack in self.stack.values():
                for optimizer in optimizers:
                    state = optimizer.state.get(stack, {})
                    state |= {key: value[index] for key, value in state.items() if is_stacked(value)}
                stack.data = stack.data[index]
                stack.grad = None if stack.grad is None else stack.grad[index]
            self._buffer_stack = {name: buffer[index] for name, buffer in self._buffer_stack.items()}
        self.models = [self.models[place] for place in places]
        self._link()

    def train(self, mode: bool = True) -> "Pack":
        """Set the mode of all networks."""
        super().train(mode)
        for model in self.models:
            model.train(mode)
        return self

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Pack":
        """Move or convert the stacks, and make the networks views of the new ones."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self._buffer_stack = {name: fn(buffer) for name, buffer in self._buffer_stack.items()}
        self._link()
        return self

    def _one_by_one(self, input: Tensor, target: Tensor | None, writes: int | None) -> Tensor:
        targets = [None] * len(self) if target is None else target
        return torch.stack([model(x, y, writes) for model, x, y in zip(self.models, input, targets, strict=True)])

    def _side_by_side(self, input: Tensor, target: Tensor | None, writes: int | None) -> Tensor:
        base = self.models[0]

        def call(parameters: dict[str, Any], buffers: dict[str, Tensor], x: Tensor, y: Tensor | None) -> Tensor:
            output: Tensor = functional_call(base, (parameters, buffers), (x, y, writes))
            return output

        with base.stepping(self.by_steps):
            outputs: Tensor = vmap(call, in_dims=(0, 0, 0, None if target is None else 0), randomness="error")(
                self.stack, self._buffer_stack, input, target
            )
        return outputs

    def _why_not(self) -> str:
        """Call the networks side by side, by the scans of their cells and then by their steps; returns why both fail.

        What a network computes alone decides, gradients and buffers included: a cell may keep a weight where
        `functional_call` cannot replace it. Alone it is run by its steps, which every cell has.
        """
        tried = _tried(self.models)
        weights = [weight for each in self._of_each(lambda weight: weight).values() for weight in each]
        reason = ""
        with torch.random.fork_rng(devices=()):
            with _kept_buffers(self.models), ExitStack() as block:
                for model in self.models:
                    block.enter_context(model.stepping())
                output = self._one_by_one(*tried)
                alone = [*output.detach(), *_gradients(output, weights), *self._buffer_values()]
            for self.by_steps in (False, True):
                try:
                    with _kept_buffers(self.models):
                        output = self._side_by_side(*tried)
                        by_stack = _gradients(output, list(self.stack.values()))
                        found = [*output.detach(), *(row for rows in by_stack for row in rows), *self._buffer_values()]
                except Exception as error:  # noqa: BLE001  (a plugin's code under vmap may raise anything)
                    reason = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
                else:
                    if all(_near(one, other) for one, other in zip(found, alone, strict=True)):
                        return ""
                    reason = "side by side its networks compute something else than alone"
        return reason

    def _link(self) -> None:
        """Make the parameters and buffers of the networks views of the stacks."""
        for tensor, view in self._views():
            tensor.data = view

    def _views(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Every parameter and buffer of the networks, with its view of the stack."""
        for place, model in enumerate(self.models):
            for name, parameter in model.named_parameters():
                yield parameter, self.stack[name].data[place]
            for name, buffer in model.named_buffers():
                yield buffer, self._buffer_stack[name][place]

    def _buffer_values(self) -> list[Tensor]:
        """The values of all buffers of the networks."""
        return [buffer.clone() for model in self.models for buffer in model.buffers()]

    def _of_each(self, what: Callable[[Parameter], Any]) -> dict[str, list[Any]]:
        """Something of every parameter, by name, in the order of the replicates."""
        found: dict[str, list[Any]] = {name: [] for name in self.stack}
        for model in self.models:
            for name, parameter in model.named_parameters():
                found[name].append(what(parameter))
        return found


def draws_random_numbers(model: SequenceModel) -> bool:
    """Whether a training step of the network uses torch's random state, which the replicates of a pack share."""
    inputs, targets, writes = _tried([model])
    with torch.random.fork_rng(devices=()), torch.no_grad(), _kept_buffers([model]):
        before = torch.get_rng_state()
        model(inputs[0], None if targets is None else targets[0], writes)
        return not torch.equal(before, torch.get_rng_state())


def is_stacked(value: object) -> bool:
    """Whether something that an elementwise optimiser keeps for a stack has a row for each replicate: not a scalar."""
    return isinstance(value, Tensor) and value.ndim > 0


def _stacked(name: str, models: Sequence[SequenceModel]) -> Tensor:
    """The parameters or buffers of this name, `(S, …)`."""
    *path, last = name.split(".")
    owners = [model.get_submodule(".".join(path)) for model in models]
    return torch.stack([getattr(owner, last).detach() for owner in owners])


def _gradients(output: Tensor, weights: Sequence[Tensor]) -> list[Tensor]:
    """The gradient of the sum of an output by each weight; zero where there is none."""
    trained = [weight for weight in weights if weight.requires_grad]
    return list(torch.autograd.grad(output.sum(), trained, allow_unused=True, materialize_grads=True))


def _near(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are equal up to a hundredth of the largest value: faults are larger, rounding is smaller."""
    if not (other.is_floating_point() or other.is_complex()):
        return torch.equal(one, other)
    largest = float(other.abs().nan_to_num().max()) if other.numel() else 0.0
    return torch.allclose(one, other, rtol=0.0, atol=max(1e-2 * largest, 1e-5), equal_nan=True)


@contextmanager
def _kept_buffers(models: Sequence[nn.Module]) -> Iterator[None]:
    """Restore the buffers at the end of the block: a call may update or replace them."""
    kept = [
        (module, name, buffer, buffer.clone())
        for model in models
        for module in model.modules()
        for name, buffer in module.named_buffers(recurse=False)
    ]
    try:
        yield
    finally:
        for module, name, buffer, value in kept:
            buffer.data.copy_(value)
            setattr(module, name, buffer)


def _tried(models: Sequence[SequenceModel]) -> tuple[Tensor, Tensor | None, int]:
    """A few steps of two examples for each network: input, target and steps to write, as `Pack.forward` takes them."""
    S, base = len(models), models[0]
    weight = next(base.parameters())
    steps = 1 if base.shape in ("one-to-one", "one-to-many") else _TRIED
    generator = torch.Generator().manual_seed(0)
    if isinstance(base.encoder, nn.Embedding):
        input = torch.randint(base.encoder.num_embeddings, (S, _TRIED, steps), generator=generator)
    else:
        input = torch.randn(S, _TRIED, steps, base.input_size, generator=generator).to(weight.dtype.to_real())
    target = torch.zeros(S, _TRIED, _TRIED, dtype=torch.long, device=weight.device) if base.writes else None
    return input.to(weight.device), target, _TRIED if base.writes else 0
