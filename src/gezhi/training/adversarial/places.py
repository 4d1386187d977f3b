"""Where a perturbation is added: to the output of a module, to the input of the model, or to parameters."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from gezhi._checks import invalid

Result = TypeVar("Result")
Target = nn.Module | nn.Parameter | str | None
Maker = Callable[[int, Tensor, Tensor], Tensor]  # (number of the call, what is perturbed, where it counts) -> Δ
EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)


def zeros(_index: int, like: Tensor, _counted: Tensor) -> Tensor:
    """A perturbation of 0, to be differentiated by."""
    return torch.zeros_like(like).requires_grad_()


def given(deltas: list[Tensor], differentiated: bool) -> Maker:
    """These perturbations, one for each time that the place is passed."""

    def make(index: int, like: Tensor, _counted: Tensor) -> Tensor:
        if index >= len(deltas) or deltas[index].shape != like.shape:
            found = f"call {index} of shape {tuple(like.shape)}"
            fix = "The perturbed module must be called alike in every pass."
            raise invalid("compute_loss", f"repeat the {len(deltas)} calls of its first pass", found, fix)
        delta = deltas[index].to(like.dtype)
        return delta.detach().requires_grad_() if differentiated else delta

    return make


class Activations:
    """The output of a module, or the first floating-point argument of one; each call has a perturbation of its own."""

    samples = True

    def __init__(self, model: nn.Module, module: nn.Module, entering: bool = False) -> None:
        self.model, self.module, self.entering = model, module, entering

    def run(
        self, function: Callable[[Any, Any], Result], batch: Any, make: Maker
    ) -> tuple[Result, list[Tensor], list[Tensor]]:
        """`function(model, batch)` with perturbations added; the perturbations, and where each counts."""
        leaves: list[Tensor] = []
        counts: list[Tensor] = []

        def add(value: Tensor, args: tuple[Any, ...]) -> Tensor:
            if torch.compiler.is_compiling():
                raise RuntimeError("a perturbed module cannot be compiled in this pass")  # the compiler then leaves it
            counts.append(self._counted(value, args, batch, first=not leaves))
            leaves.append(make(len(leaves), value, counts[-1]))
            return value + leaves[-1]

        with self._eager(), self._hook(add):
            result = function(self.model, batch)
        if not leaves:
            fix = "Compile the parts behind it instead, or give the target that the loss goes through."
            raise invalid("target", "be called, uncompiled, by compute_loss", "no call", fix, kind=RuntimeError)
        return result, leaves, counts

    @contextmanager
    def _hook(self, add: Callable[[Tensor, tuple[Any, ...]], Tensor]) -> Iterator[None]:
        def entering(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
            places: list[tuple[Any, Any]] = [(args, i) for i in range(len(args))] + [(kwargs, key) for key in kwargs]
            for owner, key in places:
                if _is_float(owner[key]):
                    moved = add(owner[key], args)
                    if owner is kwargs:
                        return args, kwargs | {key: moved}
                    return (*args[:key], moved, *args[key + 1 :]), kwargs
            found = ", ".join(type(owner[key]).__name__ for owner, key in places) or "nothing"
            raise invalid("target 'input'", "find a floating-point tensor among the model's arguments", found)

        def leaving(_: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
            if _is_float(output):
                return add(output, args)
            if isinstance(output, tuple) and output and _is_float(output[0]):
                return (add(output[0], args), *output[1:])
            raise invalid("target", "return a floating-point tensor", type(output).__name__, kind=TypeError)

        if self.entering:
            handle = self.module.register_forward_pre_hook(entering, with_kwargs=True)
        else:
            handle = self.module.register_forward_hook(leaving)
        try:
            yield
        finally:
            handle.remove()

    def _counted(self, value: Tensor, args: tuple[Any, ...], batch: Any, first: bool) -> Tensor:
        """1 where a perturbation is wanted, 0 on padding."""
        counted = value.new_ones([1] * value.ndim)
        padding = getattr(self.module, "padding_idx", None)
        if padding is not None and args and isinstance(args[0], Tensor) and value.shape[:-1] == args[0].shape:
            counted = counted * (args[0] != padding)[..., None].to(value.dtype)
        mask = batch.get("attention_mask") if isinstance(batch, Mapping) and not self.entering else None
        if first and isinstance(mask, Tensor) and mask.ndim == 2 and value.shape[:-1] == mask.shape:
            counted = counted * (mask != 0)[..., None].to(value.dtype)
        return counted

    def _eager(self) -> AbstractContextManager[None]:
        """A compiled graph does not look for hooks that came after it."""
        for module in self.model.modules():
            inner = getattr(module, "_orig_mod", module if module._compiled_call_impl is not None else None)
            if inner is not None and any(part is self.module for part in inner.modules()):
                stance: Any = getattr(torch.compiler, "set_stance", None)
                return nullcontext() if stance is None else stance("force_eager")
        return nullcontext()


class _Call(nn.Module):
    """A function of a model and a batch as a module, so that parameters can be swapped inside."""

    def __init__(self, function: Callable[[Any, Any], Any], model: nn.Module) -> None:
        super().__init__()
        self.function, self.model = function, model
        self.training = model.training

    def forward(self, batch: Any) -> Any:
        return self.function(self.model, batch)


class Weights:
    """Parameters by name: the function sees each of them plus its perturbation, and nothing is overwritten."""

    samples = False

    def __init__(self, model: nn.Module, names: list[str]) -> None:
        self.model, self.names = model, names
        for name in names:
            _refuse_shared(model, name)

    def run(
        self, function: Callable[[Any, Any], Result], batch: Any, make: Maker
    ) -> tuple[Result, list[Tensor], list[Tensor]]:
        """As `Activations.run`."""
        parameters = dict(self.model.named_parameters(remove_duplicate=False))
        weights = [parameters[name] for name in self.names]
        counts = [weight.detach().new_ones([1] * weight.ndim) for weight in weights]
        leaves = [make(i, weight.detach(), counts[i]) for i, weight in enumerate(weights)]
        moved = {f"model.{name}": w + d for name, w, d in zip(self.names, weights, leaves, strict=True)}
        result: Result = torch.func.functional_call(_Call(function, self.model), moved, (batch,))
        return result, leaves, counts


Place = Activations | Weights


def find(model: nn.Module, target: Target) -> Place:
    """The place that `target` names."""
    if target is None:
        return Activations(model, _embedding(model))
    if isinstance(target, nn.Parameter):
        names = [name for name, parameter in model.named_parameters() if parameter is target]
        if not names:
            raise invalid("target", "be a parameter of model", f"one of shape {tuple(target.shape)}")
        return Weights(model, names[:1])
    if isinstance(target, nn.Module):
        if not any(module is target for module in model.modules()):
            raise invalid("target", "be a part of model", type(target).__name__)
        return Activations(model, target)
    if not isinstance(target, str):
        raise invalid("target", "be a module, a parameter or a name", type(target).__name__, kind=TypeError)
    if target == "input":
        return Activations(model, model, entering=True)
    return _named(model, target)


def _named(model: nn.Module, pattern: str) -> Place:
    modules = dict(model.named_modules())
    if pattern in modules:
        return Activations(model, modules[pattern])
    parameters = [name for name, _ in model.named_parameters()]
    names = fnmatch.filter(parameters, pattern)
    if not names:
        known = ", ".join([*parameters[:12], *(["…"] if len(parameters) > 12 else [])])
        fix = f"It has the parameters {known}. Patterns may hold *."
        raise invalid("target", "be 'input', or name a module or parameters of model", repr(pattern), fix)
    return Weights(model, names)


def _embedding(model: nn.Module) -> nn.Module:
    """The embedding of the model's inputs: what it says itself, or the only one."""
    for module in model.modules():
        ask = getattr(module, "get_input_embeddings", None)
        if callable(ask):
            try:
                found = ask()
            except (NotImplementedError, AttributeError):
                continue
            if isinstance(found, nn.Module):
                return found
    tables = {name: module for name, module in model.named_modules() if isinstance(module, EMBEDDINGS)}
    if len(tables) != 1:
        fix = "Pass one of them, another module, a parameter, or 'input'."
        raise invalid("target", "be given where model has not one embedding", ", ".join(tables) or "none", fix)
    return next(iter(tables.values()))


def _refuse_shared(model: nn.Module, name: str) -> None:
    """A weight that is also the output layer would move the scores of all tokens together with the inputs."""
    weight = dict(model.named_parameters())[name]
    owners = [module for module in model.modules() if any(p is weight for p in module._parameters.values())]
    fix = "Perturb the output of the embedding: pass the module."
    if len(owners) > 1 and not all(isinstance(owner, EMBEDDINGS) for owner in owners):
        kinds = ", ".join(type(owner).__name__ for owner in owners)
        raise invalid(f"target {name!r}", "belong to one layer, or to embeddings alone", kinds, fix)
    if any(getattr(owner, "max_norm", None) is not None for owner in owners):
        raise invalid(f"target {name!r}", "have no max_norm, which would shrink what was added", "a max_norm", fix)


def _is_float(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()
