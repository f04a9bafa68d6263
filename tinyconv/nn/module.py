"""Module: a way to write a network. It holds parameters, buffers and other modules, and says how they are used in `forward`.

Names follow the attributes, joined by dots: `features.0.weight`. They are the keys of `state_dict`, of files, and of a traced
graph. Parameters are trained; buffers (running statistics) travel with them but are not.
"""
import copy
from collections.abc import Mapping

import numpy as np

from ..ops import recorder
from ..tensor import Tensor


class Parameter(Tensor):
    """A Tensor that a module trains: Parameter(array) requires its gradient."""

    __slots__ = ()

    def __init__(self, data, requires_grad=True):
        super().__init__(data, requires_grad)

    def __deepcopy__(self, memo):
        return Parameter(self.data.copy(), self.requires_grad)


class Module:
    """Base of every network and layer: assign parameters and modules as attributes, define `forward`, call the module.

    >>> class Twice(tc.nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.weight = tc.nn.Parameter(np.full(1, 2.0))
    ...     def forward(self, x):
    ...         return x * self.weight
    >>> Twice()(tc.Tensor(np.array([3.0]))).data
    array([6.])
    """

    bounds = None               # (low, high) of a layer that clips and does nothing else
    takes_bounds = False        # may `forward` be given the bounds of such a layer behind it?

    def __init__(self):
        for name, value in (("_parameters", {}), ("_buffers", {}), ("_modules", {}), ("training", True)):
            object.__setattr__(self, name, value)

    def __setattr__(self, name, value):
        if "_parameters" not in self.__dict__:
            raise AttributeError(f"call super().__init__() before assigning {name!r} in {type(self).__name__}")
        if isinstance(value, (Parameter, Module)):
            for home in (self._parameters, self._buffers, self._modules):
                home.pop(name, None)
            (self._parameters if isinstance(value, Parameter) else self._modules)[name] = value
            object.__setattr__(self, name, value)               # found at once: `__getattr__` is asked for buffers alone
        elif name in self._buffers:
            self.register_buffer(name, value)
        else:
            for home in (self._parameters, self._modules):
                if name in home and value is not None and not isinstance(value, type(home[name])):
                    raise TypeError(f"{type(self).__name__}.{name} is a {type(home[name]).__name__}; "
                                    f"a {type(value).__name__} cannot take its place")
                home.pop(name, None)
            object.__setattr__(self, name, value)

    def __getattr__(self, name):
        for home in ("_parameters", "_buffers", "_modules"):
            if name in self.__dict__.get(home, ()):
                return self.__dict__[home][name]
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def __delattr__(self, name):
        known = [home.pop(name) for home in (self._parameters, self._buffers, self._modules) if name in home]
        if not known or name in self.__dict__:
            object.__delattr__(self, name)

    def register_buffer(self, name, array):
        """Keep an array (or None) under `name`: saved with the parameters, not trained. Errors: TypeError for anything else."""
        if array is not None and not isinstance(array, np.ndarray):
            raise TypeError(f"buffer {name!r} must be a NumPy array or None, not {type(array).__name__}")
        self._buffers[name] = array

    def forward(self, *inputs):
        """What the module computes; every subclass defines it."""
        raise NotImplementedError(f"{type(self).__name__} defines no forward(…)")

    def __call__(self, *inputs):
        watching = recorder()
        if watching is None:
            return self.forward(*inputs)
        with watching.inside(self):
            return self.forward(*inputs)

    def named_modules(self, prefix=""):
        """(name, module) of this module ("") and all within it, each module once."""
        seen, stack = set(), [(prefix, self)]
        while stack:
            name, module = stack.pop()
            if id(module) not in seen:
                seen.add(id(module))
                yield name, module
                stack.extend([(f"{name}.{key}" if name else key, child) for key, child in module._modules.items()][::-1])

    def modules(self):
        """This module and all within it."""
        return (module for _, module in self.named_modules())

    def named_children(self):
        """(name, module) of the modules directly within this one."""
        return iter(self._modules.items())

    def children(self):
        """The modules directly within this one."""
        return iter(self._modules.values())

    def _named(self, home):
        seen = set()
        for prefix, module in self.named_modules():
            for key, value in getattr(module, home).items():
                if value is not None and id(value) not in seen:
                    seen.add(id(value))
                    yield f"{prefix}.{key}" if prefix else key, value

    def named_parameters(self):
        """(name, Parameter) of all parameters, a shared one once."""
        return self._named("_parameters")

    def parameters(self):
        """All parameters, a shared one once."""
        return (p for _, p in self.named_parameters())

    def named_buffers(self):
        """(name, array) of all buffers."""
        return self._named("_buffers")

    def buffers(self):
        """All buffers."""
        return (b for _, b in self.named_buffers())

    def zero_grad(self):
        """Forget all gradients."""
        for p in self.parameters():
            p.grad = None

    def train(self, mode=True):
        """Switch to training mode (batch statistics, dropout) or, with False, out of it. Returns the module."""
        for module in self.modules():
            object.__setattr__(module, "training", bool(mode))
        return self

    def eval(self):
        """Switch to evaluation: running statistics, no dropout. Returns the module."""
        return self.train(False)

    def requires_grad_(self, requires_grad=True):
        """Train all parameters, or freeze them. Returns the module."""
        for p in self.parameters():
            p.requires_grad_(requires_grad)
        return self

    def to(self, dtype):
        """Convert parameters and floating-point buffers to float32 or float64, in place. Returns the module."""
        if np.dtype(dtype) not in (np.float32, np.float64):
            raise TypeError(f"dtype must be float32 or float64, not {dtype}")
        for p in self.parameters():
            p.data, p.grad = p.data.astype(dtype), None
        for module in self.modules():
            for key, value in module._buffers.items():
                if value is not None and value.dtype.kind == "f":
                    module._buffers[key] = value.astype(dtype)
        return self

    def seed(self, rng):
        """Let every module that draws random numbers (dropout) draw from `rng`, a Generator or a seed. Returns the module."""
        rng = np.random.default_rng(rng)
        for module in self.modules():
            if "rng" in module.__dict__:
                module.rng = rng
        return self

    def copy(self):
        """A module of the same kind with arrays of its own."""
        return copy.deepcopy(self)

    def state_dict(self):
        """name -> a copy of the array, parameters first, then buffers, as they stand in the modules."""
        state = {}
        for prefix, module in self.named_modules():
            for key, value in (*module._parameters.items(), *module._buffers.items()):
                if value is not None:
                    state[f"{prefix}.{key}" if prefix else key] = np.array(value.data if isinstance(value, Tensor) else value)
        return state

    def load_state_dict(self, state, strict=True):
        """Copy arrays in by name; nothing is changed unless everything fits.

        `num_batches_tracked` (a counter PyTorch keeps) is accepted and not needed. With strict=False missing and unexpected names
        are let be. Returns (missing, unexpected). Errors: ValueError naming every missing, unexpected or misshapen entry, and
        entries that are not finite.
        """
        if not isinstance(state, Mapping):
            raise TypeError(f"state must be a dict of name -> array, not {type(state).__name__}; "
                            "tinyconv.load reads one from a file")
        own = {}
        for prefix, module in self.named_modules():
            for home in (module._parameters, module._buffers):
                own.update({(f"{prefix}.{key}" if prefix else key): (home, key)
                            for key, value in home.items() if value is not None})
        given = {name: value for name, value in state.items() if str(name).rpartition(".")[2] != "num_batches_tracked"}
        missing, unexpected = [n for n in own if n not in given], [n for n in given if n not in own]
        wrong = [f"{n}: missing" for n in missing] + [f"{n}: unexpected" for n in unexpected] if strict else []
        fitting = {}
        for name in own.keys() & given.keys():
            home, key = own[name]
            fitting[name] = _fitting(given[name], home[key].data if isinstance(home[key], Tensor) else home[key])
        wrong += [f"{name}: {said}" for name, said in fitting.items() if isinstance(said, str)]
        if wrong:
            raise ValueError(f"this state does not fit {type(self).__name__}: " + "; ".join(sorted(wrong)))
        for name, array in fitting.items():
            home, key = own[name]
            if isinstance(home[key], Tensor):
                home[key].data = array
            else:
                home[key] = array
        return missing, unexpected

    def describe(self):
        """The arguments shown in `repr`; layers override it."""
        return ""

    def __repr__(self):
        inner = [f"({name}): {child!r}".replace("\n", "\n  ") for name, child in self._modules.items()]
        if not inner:
            return f"{type(self).__name__}({self.describe()})"
        return f"{type(self).__name__}(\n  " + "\n  ".join(inner) + "\n)"


def _fitting(value, held):
    """`value` as an array of its own that can take the place of `held`, or in words why it cannot."""
    try:
        array = np.asarray(value)
    except (TypeError, ValueError):
        return "no array"
    if array.shape != held.shape:
        return f"shape {array.shape}, should be {held.shape}"
    if array.dtype.kind != held.dtype.kind:
        return f"{array.dtype}, should be {held.dtype}"
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        return "holds NaN or infinities"
    with np.errstate(over="ignore"):
        fitted = np.array(array, held.dtype, order="C")
    if not (np.isfinite(fitted).all() if array.dtype.kind == "f" else np.array_equal(fitted, array)):
        return f"holds numbers too large for {held.dtype}"
    return fitted


def _add(home, name, module):
    """Put a module into Sequential or ModuleList `home` under a new name; returns home."""
    if not isinstance(module, Module):
        raise TypeError(f"{type(home).__name__} takes modules, not {type(module).__name__} ({name})")
    if name in home._modules:
        raise ValueError(f"{type(home).__name__} has a module {name!r} already")
    home._modules[name] = module
    return home


class Sequential(Module):
    """Modules one after another: Sequential(a, b, c)(x) = c(b(a(x))). Names are "0", "1", …, or the keys of a dict."""

    def __init__(self, *modules):
        super().__init__()
        named = modules[0] if len(modules) == 1 and isinstance(modules[0], dict) else {str(i): m for i, m in enumerate(modules)}
        for name, module in named.items():
            _add(self, name, module)

    def forward(self, x):
        """x through every module in turn; a normalisation and the clipping activation behind it go through memory in one pass."""
        modules, at = list(self._modules.values()), 0
        while at < len(modules):
            bounds = modules[at + 1].bounds if modules[at].takes_bounds and at + 1 < len(modules) and recorder() is None else None
            x = modules[at](x) if bounds is None else modules[at](x, bounds)
            at += 1 if bounds is None else 2
        return x

    def __len__(self):
        return len(self._modules)

    def __iter__(self):
        return iter(self._modules.values())

    def __getitem__(self, index):
        chosen = list(self._modules.values())[index]
        return Sequential(*chosen) if isinstance(index, slice) else chosen

    def append(self, module):
        """One more module at the end. Returns the Sequential."""
        return _add(self, str(len(self)), module)


class ModuleList(Module):
    """A list of modules whose parameters are found; it has no forward of its own."""

    def __init__(self, modules=()):
        super().__init__()
        for module in modules:
            self.append(module)

    def append(self, module):
        """One more module at the end. Returns the list."""
        return _add(self, str(len(self)), module)

    def __len__(self):
        return len(self._modules)

    def __iter__(self):
        return iter(self._modules.values())

    def __getitem__(self, index):
        return list(self._modules.values())[index]
