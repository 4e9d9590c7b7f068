"""Laws of how adapters of one's own are measured: each picture counts once, whichever name it is of."""

from experiments.adapters import Measured, share, together


def test_every_picture_of_several_names_counts_once():
    found = [Measured({"name": "fox"}, {"with": [True, True, True]}), Measured({"name": "owl"}, {"with": [False]})]
    assert together(found) == {"pictures": 4, "with": 75.0}
    assert together(found[::-1]) == together(found)


def test_a_question_that_one_name_was_not_asked_counts_the_others_pictures():
    found = [Measured({}, {"with": [True, False], "other": [True]}), Measured({}, {"with": [True, True], "other": []})]
    assert together(found) == {"pictures": 4, "with": 75.0, "other": 100.0}


def test_the_record_of_a_name_says_shares_and_none_where_nothing_was_asked():
    assert Measured({"name": "fox"}, {"with": [True, False], "other": []}).record == {
        **{"name": "fox", "with": 50.0, "other": None}
    }
    assert share([True, True, False]) == 66.7
