"""The report has nothing in it that JSON has not."""

import json
from dataclasses import asdict

from llmkit.engine.speculation_report import SpeculationReport


def test_a_report_is_a_json_object_of_plain_values() -> None:
    report = SpeculationReport(
        proposed_tokens=8,
        accepted_tokens=6,
        acceptance_rate=0.75,
        verifications=2,
        tokens_per_verification=4.0,
        speedup=None,
        is_off=False,
        times_off=0,
    )
    assert SpeculationReport(**json.loads(json.dumps(asdict(report)))) == report
