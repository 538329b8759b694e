"""The service's page: its interface, and forms to try it. It loads no other file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader

POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "connect-src 'self'; img-src blob: data:; form-action 'none'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
HEADERS = {"content-security-policy": POLICY, "x-content-type-options": "nosniff"}


def page(schema: Mapping[str, object], images: int) -> str:
    """The HTML of the page.

    schema: the interface, in OpenAPI
    images: of one request, at most
    """
    described: Any = schema
    loader = FileSystemLoader(Path(__file__).parent)
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
    return template.render(info=described["info"], operations=operations, images=images)


def _fields(operation: Mapping[str, Any], described: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of an operation's JSON body."""
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    name = content.get("schema", {}).get("$ref", "").rpartition("/")[2]
    return described.get("components", {}).get("schemas", {}).get(name, {}).get("properties", {})
