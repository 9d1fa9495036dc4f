"""The OpenAPI 3.1 document of the JSON calls, written from the contract's descriptors: `document.render`."""
