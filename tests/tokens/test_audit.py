"""Counts of what is wrong with examples."""

from llmkit.tokens.audit import FAULTS, KEPT, Audit, ExampleError, Fault, gravest


def test_faults_are_counted_once_a_record_and_the_first_place_is_kept() -> None:
    audit = Audit()
    audit.take_faults(
        "a:1", [Fault("text.special", "x"), Fault("text.special", "y"), Fault("mask.zero", "z")]
    )
    audit.take_faults("a:2", [Fault("mask.zero", "later")])
    report = audit.report()
    assert report.faults == {"mask.zero": 2, "text.special": 1} and report.faulty == 3
    assert list(report.faults) == ["mask.zero", "text.special"]  # the gravest first
    assert report.first == {"mask.zero": "a:1: z", "text.special": "a:1: x"}


def test_tokens_are_added_up() -> None:
    audit = Audit()
    audit.take_tokens(10, 4, 0)
    audit.take_tokens(5, 5, 2)
    report = audit.report()
    assert (report.tokens, report.learnt_tokens, report.cut_tokens) == (15, 9, 2)


def test_those_that_are_learnt_all_the_same_come_last() -> None:
    order = list(FAULTS)
    assert set(FAULTS) >= KEPT and set(order[-len(KEPT) :]) == KEPT
    assert gravest([Fault(rule, "") for rule in reversed(order)]).rule == order[0]


def test_an_error_is_a_fault_that_is_not_kept() -> None:
    fault = ExampleError("mask.unclear", "which part?", hint="x").fault
    assert (fault.rule, fault.problem, fault.kept) == ("mask.unclear", "which part?", False)
    assert Fault("text.lost", "").kept
