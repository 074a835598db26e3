"""Contracts as the texts of documents: two columns, one rule, and what a test is about."""

from __future__ import annotations

import textwrap

_FIELDS = """\
data_contract:
  name: {name}
  version: 1.0.0
  schema:
    fields:
      order_id: {{type: integer, required: true}}
      amount: {{type: number, required: true, minimum: 0}}
"""
_RESILIENCE = """\
  resilience:
    circuit_breaker:{scope}
      open_when: ["schema_validation_errors > 5%"]
      recovery: {{retry_after: {retry_after}, jitter: 0}}
    fallback_modes:
"""


def contract_text(
    name: str, *levels: str, sections: str = "", scope: str = "", retry_after: str = "1h"
) -> str:
    """A contract of ``order_id`` and ``amount``, with a circuit where it has fallback ``levels``.

    ``sections`` are others of its keys, before ``resilience``.
    """
    text = _FIELDS.format(name=name) + textwrap.indent(textwrap.dedent(sections), "  ")
    if levels:
        scoped = f"\n      scope: {scope}" if scope else ""
        text += _RESILIENCE.format(scope=scoped, retry_after=retry_after)
        text += "".join(f"      - {{{level}}}\n" for level in levels)
    return text
