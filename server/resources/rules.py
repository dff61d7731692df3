"""The margin rules this version knows.  Anyone compiles them himself; the circuit's digest in a claim decides."""

from __future__ import annotations

from functools import cache

from flask import Response
from flask_openapi3.blueprint import APIBlueprint

from circuits.render import render_rule
from circuits.rules.registry import RULES
from server.problem import PROBLEMS, Refusal, Responses
from server.schemas import Name, RuleOut, RulesOut, Shape, answer

blueprint = APIBlueprint("rules", __name__, abp_responses=PROBLEMS)
_TEXT: Responses = {200: {"description": "the rule", "content": {"text/plain": {"schema": {"type": "string"}}}}}


class OneRule(Shape):
    name: Name


@cache
def _rendered(name: str) -> str:
    return render_rule(name)


@blueprint.get("/v1/rules", summary="All rules by name", responses={200: RulesOut})
def rules() -> Response:
    shown = [
        RuleOut(
            name=rule.name,
            title=rule.title,
            kind=rule.kind.name.lower(),
            tiers=[tier.name.lower() for tier in rule.tiers],
            parameters=sorted(rule.defaults),
        )
        for rule in RULES.values()
    ]
    return answer(RulesOut(rules=shown), headers={"Cache-Control": "max-age=3600"})


@blueprint.get("/v1/rules/<name>", summary="One rule as mathematics", responses=_TEXT)
def rule(path: OneRule) -> Response:
    if path.name not in RULES:
        raise Refusal(404, "rule.unknown", "This version knows no such rule.")
    return Response(_rendered(path.name), mimetype="text/plain", headers={"Cache-Control": "max-age=3600"})
