"""Files of labels: what they hold for translations, and the faults that are told in one line."""

import json
from pathlib import Path

import pytest

from translate.conversion.augment.label_files import LabelFile, read_label_files
from translate.conversion.augment.labelled_set import list_labelled_set
from translate.errors import DataError

from .helpers import coco, write_set


def read(tmp_path: Path, *paths: str) -> list[LabelFile]:
    return read_label_files(list_labelled_set(write_set(tmp_path / "in", *paths), tmp_path / "out"))


def written(files: list[LabelFile], **made: list[str]) -> dict[str, bytes]:
    """Files of labels for translations, which are given by the stems of their images in the folder images/."""
    by_path = {f"images/{stem}.png": [f"images/{name}" for name in names] for stem, names in made.items()}
    return {path: content() for file in files for path, content in file.outputs(by_path)}


def test_yolo_labels_are_copied_byte_by_byte(tmp_path: Path) -> None:
    text = "0 0.5 0.5 0.1 0.2\n3 .1 .2 .3 .4 .5 .6\n"
    (file,) = read(tmp_path, "images/1.png", f"labels/1.txt={text}", "labels/classes.txt=cat\n")
    assert file.has_places
    assert written([file], **{"1": ["1-translated.png", "1-translated-1.png"]}) == {
        "labels/1-translated.txt": text.encode(),
        "labels/1-translated-1.txt": text.encode(),
    }


def test_voc_annotations_name_the_translation_and_are_else_unchanged(tmp_path: Path) -> None:
    xml = "<annotation>\n <filename>1.png</filename><path>/a/b/1.png</path>\n <object><name>c</name></object></annotation>"
    (file,) = read(tmp_path, "images/1.png", f"Annotations/1.xml={xml}", "other.xml=<a/>")
    (content,) = written([file], **{"1": ["1-translated.png"]}).values()
    assert content.decode() == xml.replace("1.png", "1-translated.png")


def test_masks_keep_their_ending(tmp_path: Path) -> None:
    (file,) = read(tmp_path, "images/1.png", "masks/1_mask.png")
    assert written([file], **{"1": ["1-translated.png"]}) == {
        "masks/1-translated_mask.png": (tmp_path / "in/masks/1_mask.png").read_bytes()
    }


def test_coco_entries_have_ids_of_their_own_and_all_else_of_the_originals(tmp_path: Path) -> None:
    given = coco("1.png", "2.png", info={"year": 2020})
    (file,) = read(tmp_path, "images/1.png", "images/2.png", f"annotations/train.json={given}")
    (content,) = written([file], **{"2": ["2-translated.png", "2-translated-1.png"]}).values()
    before, after = json.loads(given), json.loads(content)
    assert after["info"] == before["info"]
    assert after["categories"] == before["categories"]
    assert after["images"][:2] == before["images"]
    assert after["annotations"][:2] == before["annotations"]
    assert after["images"][2:] == [
        {**before["images"][1], "id": 12, "file_name": "2-translated.png"},
        {**before["images"][1], "id": 13, "file_name": "2-translated-1.png"},
    ]
    assert after["annotations"][2:] == [
        {**before["annotations"][1], "id": 7, "image_id": 12},
        {**before["annotations"][1], "id": 8, "image_id": 13},
    ]


def test_shared_files_without_translations_are_unchanged(tmp_path: Path) -> None:
    given = coco("1.png").replace(", ", ",   ")
    files = read(tmp_path, "images/1.png", f"a.json={given}", "b.csv=file,label\n1.png,x")
    assert written(files) == {"a.json": given.encode(), "b.csv": b"file,label\n1.png,x"}


def test_csv_rows_are_repeated_with_the_name_of_the_translation(tmp_path: Path) -> None:
    text = 'image,"xmin",label\nimages/1.png,4,"a, b"\nimages/2.png,5,c\nimages/1.png,6,d'
    (file,) = read(tmp_path, "images/1.png", "images/2.png", f"boxes.csv={text}")
    assert file.has_places
    assert written([file], **{"1": ["1-translated.png"]})["boxes.csv"].decode() == (
        f'{text}\nimages/1-translated.png,4,"a, b"\nimages/1-translated.png,6,d\n'
    )


def test_tables_without_titles_without_boxes_and_without_images(tmp_path: Path) -> None:
    bare, classes = read(
        tmp_path,
        "images/1.png",
        "a.csv=images/1.png;1;2;3;4;cat\r\n",
        "b.csv=filename,label\n1.png,cat\n",
        "c.csv=number,name\n1,cat\n",
    )
    assert (bare.has_places, classes.has_places) == (True, False)
    assert written([bare], **{"1": ["1-translated.png"]})["a.csv"].endswith(b"images/1-translated.png;1;2;3;4;cat\r\n")


def test_lists_of_splits_get_the_translations_of_their_images(tmp_path: Path) -> None:
    train, val = read(
        tmp_path, "images/1.png", "images/2.png", "ImageSets/Main/cat_train.txt=1  -1\n", "val.txt=images/2.png\n"
    )
    found = written([train, val], **{"1": ["1-translated.png"]})
    assert found == {
        "ImageSets/Main/cat_train.txt": b"1  -1\n1-translated  -1\n",
        "val.txt": b"images/2.png\n",
    }


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        ("a.json={", "a.json: is no JSON"),
        (f"a.json={coco('9.png')}", "a.json: names '9.png', which is no image"),
        (f"a.json={coco('1.png', '1.png')}", "a.json: 1 files have several entries in its images, as 'images/1.png'"),
        (f"a.json={coco('1.png', images=[{'id': 1}])}", "annotation 5 is of image 10, which its images do not have"),
        (f"a.json={coco('1.png', annotations=[{'id': 1, 'image_id': 10}] * 2)}", "1 ids of its annotations are there several"),
        (f"a.json={coco(images=[{'id': 1}, {'id': 1}])}", "1 ids of its images are there several times, as 1"),
        (f"a.json={coco(images=[{'id': 'x'}])}", "entry 0 of its images has the id 'x', which is no whole number"),
        (f"a.json={coco(images=[{'id': 1}])}", "image 1 has no file_name"),
        (f"a.json={coco(images=3)}", "its images are no list of objects"),
        (f"a.json={coco('1.png', annotations=[{'segments_info': []}])}", "panoptic files are not supported"),
        ("a.xml=<annotation>", "a.xml: is no XML"),
        ("Annotations/9.xml=<annotation><filename>9.png</filename></annotation>", "names '9.png'"),
        ("labels/1.txt=0 0.5 x 0.1 0.2\n", "labels/1.txt: line 1 is no class with its box"),
        ("labels/9.txt=0 0.5 0.5 0.1 0.2\n", "labels/9.txt: holds boxes, but no image has its name"),
        ("a.csv=filename,label\n1.png,a\n9.png,b\n", "a.csv: names '9.png'"),
        ("a.csv=label,filename\na,1.png\nb\n", "a.csv: row 3 has 1 cells"),
        ("ImageSets/train.txt=9\n", "ImageSets/train.txt: names '9'"),
    ],
)  # fmt: skip
def test_faults_are_one_line_with_the_file(tmp_path: Path, file: str, reason: str) -> None:
    with pytest.raises(DataError) as raised:
        read(tmp_path, "images/1.png", file)
    assert reason in str(raised.value)
    assert "\n" not in str(raised.value)
