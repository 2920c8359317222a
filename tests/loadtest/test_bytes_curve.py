from loadtest.accuracy.bytes_curve import page


def test_a_line_for_each_setting_by_size_and_a_column_for_each_cell() -> None:
    rows = [
        {
            "cell": cell,
            "line": "fpserver, accepted",
            "settings": settings,
            "mb_per_hour": mb_per_hour,
            "clips": 20,
            "right": right,
            "low": right / 20 - 0.1,
            "high": right / 20 + 0.1,
        }
        for settings, mb_per_hour, right in (("many", 2.0, 18), ("few", 0.5, 10))
        for cell in ("clean_2s", "noise")
    ]
    *_, few, many = page(rows).splitlines()
    assert few == "| fpserver, accepted | few | 0.50 | 50 [40, 60] | 50 [40, 60] |"
    assert many == "| fpserver, accepted | many | 2.00 | 90 [80, 100] | 90 [80, 100] |"
