"""What experiments, trials and trial components have in common: objects that a server keeps under their names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

from penstock.client.shapes import ApiObject, pascal, snake

if TYPE_CHECKING:
    from penstock.experiments.search_expression import SearchExpression
    from penstock.session import Session

#: A structure of an answer.
_Told = TypeVar("_Told", bound=ApiObject)


class Entity:
    """One of them, with the members of the API as attributes.

    Args:
        given: Where it is kept: a Session, a boto3 client for SageMaker, or None for a new Session.
        **members: Attributes.
    """

    #: As operations name it: `describe_<kind>`.
    _kind: ClassVar[str]
    #: Attributes that are sent when it is saved; the first is its name.
    _saved: ClassVar[tuple[str, ...]]
    #: What Search calls them.
    _resource: ClassVar[str]
    #: Attribute -> what makes its value of a member of an answer.
    _readers: ClassVar[Mapping[str, Callable[[Any], Any]]] = {}

    def __init__(self, given: Any = None, **members: Any) -> None:
        self._session = session_of(given)
        vars(self).update(members)

    @property
    def sagemaker_session(self) -> Session:
        """The session that it was made or loaded with."""
        return self._session

    @property
    def sagemaker_boto_client(self) -> Any:
        """The boto3 client for SageMaker that it was made or loaded with."""
        return client_of(self._session)

    def save(self) -> Self:
        """Send what may be changed to the server.

        Raises:
            botocore.exceptions.ClientError: It is not there any more, or a value is refused.
        """
        return self._ask("update", **self._request({name: getattr(self, name, None) for name in self._saved}))

    def delete(self) -> Self:
        """Remove it from the server.

        Raises:
            botocore.exceptions.ClientError: It is not there, or something is in it still.
        """
        return self._ask("delete", **self._named())

    @classmethod
    def _load(cls, given: Any, name: str) -> Self:
        found = cls(given, **{cls._saved[0]: name})
        return found._ask("describe", **found._named())

    @classmethod
    def _create(cls, given: Any, **members: Any) -> Self:
        made = cls(given, **members)
        return made._ask("create", **made._request(members))

    @classmethod
    def _create_or_load(cls, given: Any, **members: Any) -> tuple[Self, bool]:
        """It, and whether it had been there before."""
        from botocore.exceptions import ClientError  # noqa: PLC0415 - comes with boto3

        try:
            return cls._create(given, **members), False
        except ClientError as error:
            if not is_there_already(error):
                raise
        return cls._load(given, members[cls._saved[0]]), True

    @classmethod
    def _list(cls, given: Any, summary: type[_Told], **request: Any) -> Iterator[_Told]:
        client = client_of(session_of(given))
        found = pages(
            getattr(client, f"list_{cls._kind}s"), f"{pascal(cls._kind)}Summaries", **cls._request(request)
        )
        return (summary.from_boto(one) for one in found)

    @classmethod
    def _search(
        cls, given: Any, result: type[_Told], expression: SearchExpression | None, **request: Any
    ) -> Iterator[_Told]:
        found = pages(
            client_of(session_of(given)).search,
            "Results",
            Resource=cls._resource,
            SearchExpression=expression and expression.to_boto(),
            **cls._request(request),
        )
        return (result.from_boto(one[pascal(cls._kind)]) for one in found)

    def _named(self) -> dict[str, Any]:
        return {pascal(self._saved[0]): getattr(self, self._saved[0])}

    def _ask(self, verb: str, **request: Any) -> Self:
        """Call an operation of this kind, and take its answer's members."""
        answer = getattr(self.sagemaker_boto_client, f"{verb}_{self._kind}")(**request)
        for name, value in answer.items():
            if name != "ResponseMetadata":
                read = self._readers.get(snake(name))
                setattr(self, snake(name), read(value) if read else value)
        return self

    @classmethod
    def _request(cls, members: Mapping[str, Any]) -> dict[str, Any]:
        """The members of a request, without those that are None."""
        return {pascal(name): value for name, value in members.items() if value is not None}

    def __repr__(self) -> str:
        # Debuggers and logs ask for this, so nobody is called.
        members = ",".join(f"{n}={v!r}" for n, v in vars(self).items() if v is not None and n[0] != "_")
        return f"{type(self).__name__}({members})"


def session_of(given: Any) -> Session:
    """The session that is meant by a Session, a boto3 client for SageMaker, or None, which means a new one."""
    from penstock.session import Session  # noqa: PLC0415 - it imports this package

    if given is None:
        return Session()
    session: Session = given if hasattr(given, "boto_session") else Session(sagemaker_client=given)
    return session


def client_of(session: Session) -> Any:
    """The boto3 client for SageMaker of a session, which may also be one of SageMaker's own SDK."""
    connection = getattr(session, "_connection", None)
    return connection.sagemaker if connection is not None else session.sagemaker_client


def pages(call: Callable[..., Any], key: str, **request: Any) -> Iterator[Any]:
    """All that an operation lists, page by page as it is asked for.

    Args:
        call: The operation.
        key: The member of an answer that is the list.
        **request: The request; members that are None are left out.
    """
    request = {name: value for name, value in request.items() if value is not None}
    while True:
        answer = call(**request)
        yield from answer.get(key, ())
        if not answer.get("NextToken"):
            return
        request["NextToken"] = answer["NextToken"]


def is_there_already(error: Any) -> bool:
    """Whether a ClientError says that a name is taken."""
    told = error.response["Error"]
    return told["Code"] == "ValidationException" and "already exists" in told["Message"]


def unique_name(base: str) -> str:
    """`base` with the time to the microsecond and four letters."""
    import random  # noqa: PLC0415 - keeps the import light
    from datetime import UTC, datetime  # noqa: PLC0415 - keeps the import light

    letters = "".join(random.sample("abcdefghijklmnopqrstuvwxyz", 4))
    return f"{base}-{datetime.now(UTC):%Y-%m-%d-%H%M%S%f}-{letters}"
