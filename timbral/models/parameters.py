"""A model's parameters by their names, to read and to set."""

from __future__ import annotations

from typing import Any, Self

from timbral.errors import ParameterError
from timbral.models.engine.objective import Objective
from timbral.models.fitting.options import PartOptions

__all__ = ["Parameters"]


class Parameters:
    """``get_params`` and ``set_params`` are scikit-learn's contract: its ``clone`` and ``ParameterGrid`` work."""

    n_components: int
    random_state: int
    max_iter: int
    tol: float
    objective: Objective
    parts: PartOptions
    n_threads: int | None

    def parameters(self) -> dict[str, Any]:
        """What the model was made with: plain values by the names of the constructor's arguments, but ``n_threads``,
        which changes no bit."""
        own = {name: getattr(self, name) for name in ("n_components", "random_state", "max_iter", "tol")}
        return own | self.objective.as_dict() | self.parts.as_dict()

    def get_params(self, deep: bool = True) -> dict[str, Any]:  # noqa: ARG002 - scikit-learn gives it
        """All arguments of the constructor by name; ``deep`` is scikit-learn's, and there is nothing deeper."""
        return self.parameters() | {"n_threads": self.n_threads}

    def set_params(self, **parameters: Any) -> Self:
        """Become a model with these parameters and the others as they are; it has to be fitted then.

        Raises:
            ParameterError: there is no such parameter, or a value cannot be right; the model stays what it was.
        """
        known = self.get_params()
        unknown = sorted(parameters.keys() - known.keys())
        if unknown:
            raise ParameterError(
                f"{type(self).__name__} has no parameter {', '.join(unknown)}; it has {', '.join(known)}"
            )
        if parameters:
            self.__dict__.update(type(self)(**known | parameters).__dict__)
        return self
