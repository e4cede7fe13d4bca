"""Numbers with check digits against published examples, and telephones against rows of other digits."""

import random

import pytest

from llmkit.text.pii.numbers import find_cards, find_ibans, find_phones, luhn, mod97, number_rows


def cards(text: str) -> list[str]:
    return [text[start:end] for start, end in find_cards(text, number_rows(text))]


def ibans(text: str) -> list[str]:
    return [text[start:end] for start, end in find_ibans(text, number_rows(text))]


def phones(text: str) -> list[str]:
    return [text[start:end] for start, end in find_phones(text, number_rows(text))]


@pytest.mark.parametrize(
    "number",
    [  # the networks' published test numbers
        "4111111111111111", "4012 8888 8888 1881", "5555-5555-5555-4444", "2223003122003222",
        "378282246310005",
        "3782 822463 10005", "6011111111111117", "30569309025904", "3530111333300000", "4222222222222",
    ],
)  # fmt: skip
def test_a_card_is_found_and_with_one_digit_wrong_it_is_not(number: str) -> None:
    assert cards(f"paid with {number}, thanks") == [number]
    wrong = number[:-1] + str((int(number[-1]) + 1) % 10)
    assert cards(f"paid with {wrong}, thanks") == []


@pytest.mark.parametrize(
    "text",
    [
        "0000000000000000", "1234567812345670 starts with 1", "4111111111111111.5", "id_4111111111111111",
        "4111 1111 1111 11 11", "https://a.org/4111111111111111", "9780306406157", "x = 0.4111111111111111",
        "41111111111111111111111", "20240425162444 20240426162444",
    ],
)  # fmt: skip
def test_rows_of_digits_that_are_no_card_are_left(text: str) -> None:
    assert cards(text) == []


@pytest.mark.parametrize(
    "account",
    [  # the examples of the IBAN registry
        "GB29 NWBK 6016 1331 9268 19", "DE89370400440532013000", "FR14 2004 1010 0505 0001 3M02 606",
        "NO9386011117947", "MT84MALT011000012345MTLCAST001S", "CH93 0076 2011 6238 5295 7",
        "NL91ABNA0417164300", "ES91 2100 0418 4502 0005 1332",
    ],
)  # fmt: skip
def test_an_account_is_found_and_with_one_digit_wrong_it_is_not(account: str) -> None:
    assert ibans(f"IBAN: {account} BIC NWBKGB2L") == [account]
    assert mod97(account.replace(" ", ""))
    compact = account.replace(" ", "")
    swapped = compact[:-2] + compact[-1] + compact[-2]
    assert compact == swapped or ibans(f"IBAN: {swapped}") == []


def test_check_digits_catch_every_single_error() -> None:
    for place in range(16):
        for digit in "0123456789":
            number = "4012888888881881"
            changed = number[:place] + digit + number[place + 1 :]
            assert luhn(changed) == (changed == number)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("Reach us at +441474556909.", "+441474556909"),
        ("fax +49 561 9804848, or", "+49 561 9804848"),
        ("(+1 212 555 0123)", "+1 212 555 0123"),
        ("at +60-6-2881100 or", "+60-6-2881100"),
        ("+33 (0)1 23 45 67 89", "+33 (0)1 23 45 67 89"),
        ("Call (612) 439-4474 now", "(612) 439-4474"),
        ("or 330-788-8771", "330-788-8771"),
        ("TTY 1.800.424.9153", "1.800.424.9153"),
        ("Tel.: 020 7946 0958", "020 7946 0958"),
        ("Tél. 01 23 45 67 89", "01 23 45 67 89"),
        ("Telefon: 0171/1234567", "0171/1234567"),
        ("phone number is 0412 345 678", "0412 345 678"),
    ],
)
def test_a_telephone_number_is_found_whole(text: str, number: str) -> None:
    assert phones(text) == [number]


@pytest.mark.parametrize(
    "text",
    [
        "2024-04-25 16:24:44", "from 1997-12-31 to 1998-01-31", "Tel Aviv [cit. 2011-12-16]",
        "ISBN 978-0-306-40615-7",
        "ISBN 0-306-40615-2", "1997 1998 1999 2000 2001", "192.168.100.200", "x = 1234567890",
        "+100000000 points",
        "3.14159265358979", "1,234,567,890", "SSN-like 123-45-6789", "-212-555-0123-9", "arXiv:2301.12345",
        "$212.555.0123",
        "a+441474556909", "x**+441474556909", "0x2125550123", "doi 10.1000/182.555.0123",
        "911-211-1234 has no such area",
        "8-800-12", "20 7946 0958", "lat 37.7749295, lon -122.4194155", "10.1.2.3.4.5.6", "call 12 of 2019",
    ],
)  # fmt: skip
def test_dates_versions_and_other_numbers_are_left(text: str) -> None:
    assert phones(text) == []


def test_random_ids_are_seldom_taken_for_cards() -> None:
    rng = random.Random(3)
    text = "\n".join(f"id {rng.randrange(10**15, 10**16)}" for _ in range(4000))
    assert len(cards(text)) < 4000 * 0.03  # a tenth passes Luhn, under a quarter lies in an issuer's range
