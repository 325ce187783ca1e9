"""What the operations on experiments, trials and trial components have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from penstock.api.checks import broken_tags
from penstock.api.context import Context
from penstock.api.identity import caller, user_id
from penstock.api.permissions import maker
from penstock.api.translate import invalid, place, token
from penstock.errors import InUse, Missing
from penstock.job.experiments import Component, Experiment, Trial, entity_arn
from penstock.job.lineage import Artifact
from penstock.store.entities import Entity
from penstock.store.finding import Condition, Order, Value
from penstock.wire.faults import Fault, not_found

#: The API reference of all three lists.
_PAGE = 10

#: Kind -> how AWS's messages name it, in one word and otherwise, and several of what it is linked to.
_WORDS: Mapping[type[Any], tuple[str, str, str]] = {
    Experiment: ("Experiment", "Experiment", "trials"),
    Trial: ("Trial", "Trial", "trial components"),
    Component: ("TrialComponent", "Trial Component", "trials"),
    Artifact: ("Artifact", "Artifact", "associations"),
}


def arn_of(context: Context, kind: type[Any], name: str) -> str:
    """The ARN of the one of that name; names in ARNs are in lower case."""
    return entity_arn(context.job_arn(""), kind, name)


def named_by_arn(context: Context, arn: str) -> tuple[type[Any], str] | None:
    """What an ARN of this account and region names; None for one of anything else."""
    for kind in _WORDS:
        start = arn_of(context, kind, "")
        if arn.lower().startswith(start) and len(arn) > len(start):
            return kind, arn[len(start) :]
    return None


def at_arns(context: Context, arns: Iterable[str]) -> dict[str, Any]:
    """What there is of these ARNs, which are in lower case, by them."""
    keys: dict[type[Any], dict[str, str]] = {}
    for arn in arns:
        if named := named_by_arn(context, arn):
            keys.setdefault(named[0], {})[named[1]] = arn
    return {
        of_kind[key]: one
        for kind, of_kind in keys.items()
        for key, one in context.store.experiments.named(kind, of_kind).items()
    }


def find(context: Context, kind: type[Entity], name: str) -> Entity:
    """The one of that name.

    Raises:
        Fault: There is none.
    """
    found = context.store.experiments.get(kind, name)
    if found is None:
        raise missing(context, kind, name)
    return found


def missing(context: Context, kind: type[Any], name: str) -> Fault:
    """There is none of that name. ResourceNotFound, as the model has it for all operations that name one."""
    return not_found(f"{_WORDS[kind][0]} '{arn_of(context, kind, name)}' does not exist.")


def taken(kind: type[Any], name: str) -> Fault:
    """The name is in use. SageMaker's SDK goes on with the one that is there when it reads `already exists`."""
    _, word, _ = _WORDS[kind]
    return invalid(
        f"{word} names must be unique within an AWS account and region. {word} with name ({name}) already exists."
    )


def linked(context: Context, kind: type[Any], name: str) -> Fault:
    """It can't be removed, for it has parts or is one."""
    word, _, parts = _WORDS[kind]
    return invalid(
        f"{word} '{arn_of(context, kind, name)}' is linked to 1 or more {parts} and cannot be deleted."
    )


def change(context: Context, kind: type[Entity], name: str, changed: Callable[[Entity], Entity]) -> str:
    """Change the one of that name; its ARN.

    Raises:
        Fault: There is none.
    """
    try:
        return context.store.experiments.change(kind, name, changed).arn
    except Missing as error:
        raise missing(context, kind, name) from error


def delete(context: Context, kind: type[Any], name: str) -> str:
    """Remove the one of that name; the ARN that it had.

    Raises:
        Fault: There is none, or it is linked to others.
    """
    try:
        context.store.experiments.delete(kind, name)
    except Missing as error:
        raise missing(context, kind, name) from error
    except InUse as error:
        raise linked(context, kind, name) from error
    return arn_of(context, kind, name)


def tags_of(params: Mapping[str, Any]) -> dict[str, str]:
    """The tags that a call gives.

    Raises:
        Fault: They can't be.
    """
    given = params.get("Tags") or []
    if broken := list(broken_tags(given)):
        raise invalid(" ".join(broken))
    return {tag["Key"]: tag["Value"] for tag in given}


def who(context: Context) -> str:
    """Who calls, to be kept: an ARN, and of a job's program, whose ARN others have as well, the job's uid after it."""
    if context.caller is not None:
        return maker(context.account, context.caller)
    return str(caller(context, {})["Arn"])


def user(by: str | None) -> dict[str, Any] | None:
    """A UserContext: the identity of whoever has made or changed something; there are no profiles and domains."""
    if by is None:
        return None
    arn = by.partition(" ")[0]
    return {"IamIdentity": {"Arn": arn, "PrincipalId": user_id(arn)}}


def listed(
    context: Context,
    kind: type[Entity],
    params: Mapping[str, Any],
    conditions: Sequence[Condition],
    summary: Callable[[Entity], dict[str, Any]],
) -> tuple[list[dict[str, Any]], str | None]:
    """A page of a list, by the parameters that all three have, and the NextToken."""
    created = Value("created_at")
    all_conditions = list(conditions)
    if "CreatedAfter" in params:
        all_conditions.append(Condition(created, ">=", params["CreatedAfter"]))
    if "CreatedBefore" in params:
        all_conditions.append(Condition(created, "<=", params["CreatedBefore"]))
    by_name = params.get("SortBy") == "Name"
    order = Order(Value("key") if by_name else created, params.get("SortOrder", "Descending") == "Descending")
    after = place(params.get("NextToken"))
    if after is not None and not is_place(after, str if by_name else int):
        raise invalid("The NextToken is not one that this operation returned.")
    size = params.get("MaxResults", _PAGE)
    found, following = context.store.experiments.find(kind, all_conditions, order, size, after)
    return [summary(one) for one in found], None if following is None else token(following)


def is_place(after: Any, kind: type[Any]) -> bool:
    """Whether a token holds a value of that type, and a key."""
    if not (isinstance(after, list) and len(after) == 2 and isinstance(after[1], str)):
        return False
    return type(after[0]) is kind and (kind is not int or abs(after[0]) < 1 << 63)


def tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Tags as AWS shows them."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]
