"""The service's own page: its interface, and forms to try it. It loads nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader

POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "connect-src 'self'; img-src blob: data:; form-action 'none'; base-uri 'none'; "
    "frame-ancestors 'none'"
)


def page(schema: Mapping[str, object]) -> HTMLResponse:
    """The page of an interface, described by OpenAPI."""
    headers = {"content-security-policy": POLICY, "x-content-type-options": "nosniff"}
    return HTMLResponse(_html(json.dumps(schema)), headers=headers)


@cache
def _html(schema: str) -> str:
    loader = FileSystemLoader(Path(__file__).parent)
    described = json.loads(schema)
    operations = [
        {
            "method": method.upper(),
            "path": path,
            "text": operation.get("description", "").split("\n\n"),
            "parameters": [p for p in operation.get("parameters", []) if p["in"] == "query"],
            "fields": _fields(operation, described),
            "answers": operation["responses"],
        }
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    ]
    template = Environment(loader=loader, autoescape=True).get_template("page.html")
    return template.render(info=described["info"], operations=operations)


def _fields(operation: dict[str, Any], described: dict[str, Any]) -> dict[str, Any]:
    """The fields of an operation's JSON body."""
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    name = content.get("schema", {}).get("$ref", "").rpartition("/")[2]
    return described.get("components", {}).get("schemas", {}).get(name, {}).get("properties", {})
