"""Objects that stand for a structure of the API, with snake_case attributes for its PascalCase members."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar, Self, overload


class ApiObject:
    """A structure of the API. Subclasses name their members as class attributes or in `__init__`.

    Attributes that are None are left out of the request; objects inside objects are converted too.
    """

    #: Members that are structures themselves: attribute -> class.
    _nested: ClassVar[Mapping[str, type[ApiObject]]] = {}

    def __init__(self, **kwargs: Any) -> None:
        self.__dict__.update(kwargs)

    @overload
    @classmethod
    def from_boto(cls, boto_dict: Mapping[str, Any], **kwargs: Any) -> Self: ...

    @overload
    @classmethod
    def from_boto(cls, boto_dict: None, **kwargs: Any) -> None: ...

    @classmethod
    def from_boto(cls, boto_dict: Mapping[str, Any] | None, **kwargs: Any) -> Self | None:
        """The object for a structure of a response; None for None. `kwargs` win over the structure."""
        if boto_dict is None:
            return None
        members: dict[str, Any] = {}
        for name, value in boto_dict.items():
            if name == "ResponseMetadata":
                continue
            attribute = snake(name)
            nested = cls._nested.get(attribute)
            members[attribute] = nested.from_boto(value) if nested else value
        return cls(**(members | kwargs))

    @classmethod
    def to_boto(cls, obj: ApiObject | Mapping[str, Any]) -> dict[str, Any]:
        """The structure for a request: PascalCase members, without those that are None."""
        members = obj if isinstance(obj, Mapping) else vars(obj)
        return {
            pascal(name): cls.to_boto(value) if isinstance(value, ApiObject) else value
            for name, value in members.items()
            if value is not None
        }

    def __eq__(self, other: object) -> bool:
        return isinstance(other, type(self)) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash(tuple(sorted(vars(self).items())))

    def __repr__(self) -> str:
        members = ",".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({members})"


def pascal(name: str) -> str:
    """`trial_name` -> `TrialName`."""
    return "".join(part.capitalize() for part in name.split("_"))


def snake(name: str) -> str:
    """`TrialName` -> `trial_name`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
