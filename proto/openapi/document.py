"""The whole document, and how it is written: the same descriptors always give the same bytes."""

import json
from collections import Counter
from typing import Any, Final

from proto.openapi.contract import Contract
from proto.openapi.operations import BEARER, Operations
from proto.openapi.schemas import STATUS, Schemas, Way

Object = dict[str, Any]

DESCRIPTION: Final = """\
Wallets and payments as JSON. The same calls are there over gRPC, on the same port.

- **Tokens.** Every call but GetHealth needs `Authorization: Bearer <JWT>`. Each says which scope its token must have; \
`admin` stands for every scope but `service`. Callers without `admin` or `service` see and debit only wallets that are \
their own, those whose owner is the token's subject.
- **Exactly once.** Calls that move money need a request id: `requestId` in the body or the header `idempotency-key`, \
one of them or both alike. The same request with the same id has one effect and one answer, then with `replayed` true.
- **Errors** are a `Status`, whoever refuses: its first detail is an `ErrorInfo` with the reason.
- **64-bit numbers** are printed as strings. They are taken as strings too, and as whole numbers up to 2^53 - 1, \
beyond which many JSON writers are not exact.
- **Fields** are taken as `lowerCamelCase` and as `snake_case`. A field of a body that is not known is dropped without \
a word, and of a key that stands twice the last one counts; a query parameter that is not known, or is given twice, is \
refused. Enum values are spelt in full."""

PARAMETERS: Final[dict[str, Object]] = {
    "idempotency-key": {
        "name": "idempotency-key",
        "in": "header",
        "description": "The request id, if the request has none; if it has one, the same. Also `x-idempotency-key`.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[ -~]*$"},
    },
    "x-request-id": {
        "name": "x-request-id",
        "in": "header",
        "description": "Names the call in logs, in the answer and in the transaction's `traceId`. Made up if absent.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[!-~]*$"},
    },
    "last-event-id": {
        "name": "last-event-id",
        "in": "header",
        "description": "The cursor, as a browser's EventSource sends it by itself after a break; goes before `cursor`.",
        "schema": {"type": "string", "maxLength": 128, "pattern": "^[!-~]*$"},
    },
}

HEADERS: Final[dict[str, Object]] = {
    "x-request-id": {
        "description": "The name of this call in logs: the caller's, or one that was made up.",
        "schema": {"type": "string"},
    },
    "retry-after": {
        "description": "In how many seconds to send the same call again.",
        "schema": {"type": "integer", "minimum": 0},
    },
    "x-ratelimit-limit": {
        "description": "How many calls the bucket holds that this call was counted in.",
        "schema": {"type": "string"},
    },
    "x-ratelimit-remaining": {"description": "How many calls are left in it.", "schema": {"type": "string"}},
    "x-ratelimit-reset": {"description": "In how many seconds it is filled.", "schema": {"type": "string"}},
}

SECURITY_SCHEMES: Final[dict[str, Object]] = {
    BEARER: {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "A JWT (ES256 or EdDSA) of the issuer that the gateway trusts, with the scopes in its claim "
        "`scope`, separated by spaces. For the local stack `specie token` prints one.",
    }
}


def document(contract: Contract) -> Object:
    services = list(contract.services())
    methods = [method for service in services for method in service.methods if contract.http(method) is not None]
    schemas = Schemas(contract, [method.output_type for method in methods])
    schemas.ref(contract.message(STATUS), Way.OUT)
    operations = Operations(contract, schemas)
    paths: dict[str, Object] = {}
    for method in methods:
        for binding, operation in operations.of(method):
            paths.setdefault(binding.path, {})[binding.verb] = operation
    return {
        "openapi": "3.1.1",
        "info": {
            "title": "Specie",
            "version": "v1",
            "description": DESCRIPTION,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": s.name, "description": contract.comment(s.full_name)} for s in services],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas.components.items())),
            "parameters": PARAMETERS,
            "headers": HEADERS,
            "responses": shared_responses(paths),
            "securitySchemes": SECURITY_SCHEMES,
        },
    }


def shared_responses(paths: dict[str, Object]) -> Object:
    """Takes out of the operations what several of them answer alike, and gives it a name."""
    answers = [operation["responses"] for verbs in paths.values() for operation in verbs.values()]
    shared: Object = {}
    for status in sorted({status for responses in answers for status in responses} - {"200"}):
        all_of_status = [json.dumps(responses[status]) for responses in answers if status in responses]
        usual, count = Counter(all_of_status).most_common(1)[0]
        if count > 1:
            shared[f"Error{status}"] = json.loads(usual)
            for responses in answers:
                if json.dumps(responses.get(status)) == usual:
                    responses[status] = {"$ref": f"#/components/responses/Error{status}"}
    return shared


def render(image: bytes) -> str:
    """As JSON, from a descriptor set with imports and source info."""
    return json.dumps(document(Contract(image)), indent=1, ensure_ascii=False) + "\n"
