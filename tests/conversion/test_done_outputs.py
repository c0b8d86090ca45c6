"""Outputs of millions of items: what a table of whole lines would say, in less memory."""

from hypothesis import given
from hypothesis import strategies as st

from translate.conversion.done_outputs import DoneOutputs, LastLine
from translate.conversion.output_paths import ItemKey

KEYS = st.builds(ItemKey, st.sampled_from(["a.png", "b.png", "b.jpg"]), st.sampled_from([None, 0, 1]))
OUTPUTS = st.sampled_from([None, "a.png", "b.png", "b.jpg.png", "a-0.png"])
PLACES = st.builds(LastLine, st.integers(0, 2), st.integers(0, 2**40))


@given(st.lists(st.tuples(KEYS, PLACES, OUTPUTS)))
def test_they_say_what_a_table_of_all_lines_says(lines):
    """None is an item that failed; the last line of an item counts, and a name once written stays known."""
    outputs, last, done, written = DoneOutputs(3), {}, {}, set()
    for key, place, output in lines:
        outputs.note(key, place, output)
        last[key] = place
        done.pop(key, None)
        if output is not None:
            done[key] = output
            written.add(output)
        assert dict(outputs.items()) == done
        assert len(outputs) == len(done)
        assert {key: outputs.last_line(key) for key in outputs.items_with_lines()} == last
        for name in ("a.png", "b.png", "b.jpg", "b.jpg.png", "a-0.png", "c.png"):
            assert outputs.was_written(name) == (name in written), name


def test_an_item_without_a_line_is_none():
    outputs = DoneOutputs(1)
    assert outputs.last_line(ItemKey("a.png")) is None
    assert ItemKey("a.png") not in outputs


def test_the_text_of_an_input_is_the_only_one_that_is_kept():
    """Of a million files each text would take some 80 MB."""
    name = "folder/" + "photo.png"
    outputs = DoneOutputs(1)
    outputs.note(ItemKey(name), LastLine(0, 5), "".join(["folder/", "photo.png"]))
    assert outputs[ItemKey("folder/photo.png")] == name
    (key,) = outputs.items_with_lines()
    assert key.input is name
