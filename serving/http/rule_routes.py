"""The routes of rules as versions, the same for every kind of rules."""

# No postponed annotations: FastAPI would look for the names of a function's own parameters among
# those of the module.

from typing import Annotated, Any, TypeAlias

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Query, Response

from serving.http.auth import Caller, require
from serving.http.dependencies import inject
from serving.http.idempotency import Write
from serving.http.parameters import allow_only, check_text
from serving.http.rule_documents import (
    RestoreRulesRequest,
    RulesListResponse,
    RulesResponse,
    RuleVersionsResponse,
    SaveRulesRequest,
    describe_changes,
    describe_rules,
    describe_version,
)
from serving.versioned_rules import NewVersion, VersionedRules

# The services of one kind or another; the router never looks into what their values hold.
Rules: TypeAlias = VersionedRules[Any]


def make_rules_router(prefix: str, tag: str, kind: type[Rules], *, read_scope: str) -> APIRouter:
    """Return a router with the routes of one kind of rules.

    read_scope   of who may read them; whoever may save them has the scope of the kind
    """
    router = APIRouter(prefix=prefix, tags=[tag], dependencies=[Depends(check_text)])
    rules_of_process = Depends(inject(kind))
    reader, manager = Depends(require(read_scope)), Depends(require(kind.scope))
    number_of_version = Query(ge=0, lt=2**31, description="0: the file")

    @router.get("", dependencies=[Depends(allow_only()), reader])
    def list_rules(rules: Annotated[Rules, rules_of_process]) -> RulesListResponse:
        """The rules of every name as they are valid now."""
        return RulesListResponse(items=[describe_rules(each) for each in rules.list_rules()])

    @router.post("", response_model=RulesResponse)
    def save_rules(
        rules: Annotated[Rules, rules_of_process],
        caller: Annotated[Caller, manager],
        write: Write,
        body: SaveRulesRequest,
    ) -> Response:
        """Saves a version, which is valid at once. 409 where somebody saved another one
        meanwhile."""
        caller.require_everywhere(rules.scope)
        new = NewVersion(body.name, body.values, body.comment, body.based_on)

        def work(connection: sa.Connection) -> RulesResponse:
            return describe_version(rules.save(connection, new, author=caller.id))

        return write.run_once(caller, work)

    @router.get("/{name}", dependencies=[Depends(allow_only("number")), reader])
    def get_rules(
        rules: Annotated[Rules, rules_of_process],
        name: str,
        number: Annotated[int | None, number_of_version] = None,
    ) -> RulesResponse:
        """The rules of a name as they are valid now, or one of their versions."""
        return describe_rules(rules.read_set(name, number))

    @router.get("/{name}/versions", dependencies=[Depends(allow_only()), reader])
    def list_versions(rules: Annotated[Rules, rules_of_process], name: str) -> RuleVersionsResponse:
        """Every version of the rules of a name, with author, reason and what it changed."""
        return describe_changes(rules.list_versions(name))

    @router.post("/{name}/restore", response_model=RulesResponse)
    def restore_rules(
        rules: Annotated[Rules, rules_of_process],
        caller: Annotated[Caller, manager],
        write: Write,
        name: str,
        body: RestoreRulesRequest,
    ) -> Response:
        """Saves the values of an earlier version again, as a new version."""
        caller.require_everywhere(rules.scope)

        def work(connection: sa.Connection) -> RulesResponse:
            version = rules.restore(connection, name, body.number, body.comment, author=caller.id)
            return describe_version(version)

        return write.run_once(caller, work)

    return router
