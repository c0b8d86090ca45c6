"""XMP packets: parsing of untrusted ones, and changes to some of their properties while all others stay.

Sources: ISO 16684-1 (XMP), sections 7.3 to 7.9; IPTC Photo Metadata Standard 2025.1.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple
from xml.dom.minidom import Attr, Document, Element

from translate.images.metadata import MAX_BYTES
from translate.images.metadata.place import is_place
from translate.text import one_line

MAX_TAGS, MAX_DEPTH = 100_000, 100
"""Largest number of tags and depth of the packets that are read."""

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
XMLNS = "http://www.w3.org/2000/xmlns/"
META = "adobe:ns:meta/"
EXIF, TIFF = "http://ns.adobe.com/exif/1.0/", "http://ns.adobe.com/tiff/1.0/"
XMP, XMP_NOTE = "http://ns.adobe.com/xap/1.0/", "http://ns.adobe.com/xmp/note/"

IPTC_EXTENSION = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
CAMERA = "http://ns.google.com/photos/1.0/camera/"

PREFIXES = {XMP: "xmp", IPTC_EXTENSION: "Iptc4xmpExt"}
"""Prefixes of the namespaces that are written."""

GAIN_MAPS = ("http://ns.adobe.com/hdr-gain-map/1.0/", "http://ns.apple.com/HDRGainMap/1.0/")
"""Namespaces that describe a gain map."""

AUXILIARY_IMAGES = (
    "http://ns.google.com/photos/1.0/container/",
    "http://ns.google.com/photos/1.0/depthmap/",
    "http://ns.google.com/photos/1.0/image/",
    *GAIN_MAPS,
)
"""Namespaces that describe images beside the main one (depth, gain map, video), which a converted file does not hold."""

_BEGIN = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
_END = '\n<?xpacket end="w"?>'


class PropertyName(NamedTuple):
    """Namespace and name of a property."""

    namespace: str
    name: str


SOURCE_TYPE = PropertyName(IPTC_EXTENSION, "DigitalSourceType")
SYSTEM, SYSTEM_VERSION = (
    PropertyName(IPTC_EXTENSION, "AISystemUsed"),
    PropertyName(IPTC_EXTENSION, "AISystemVersionUsed"),
)
CREATOR_TOOL = PropertyName(XMP, "CreatorTool")


class XmpPacket:
    """XMP packet, whose properties are attributes or elements of its descriptions.

    Without `data` it is empty. ValueError, which says why, if `data` cannot be parsed.
    """

    def __init__(self, data: bytes | None = None) -> None:
        self.document = _parse(data) if data is not None else _empty()
        (self.rdf, *_) = [*_elements(self.document, RDF, "RDF"), None]
        if self.rdf is None:
            raise ValueError("holds no RDF")

    def value(self, name: PropertyName) -> str | None:
        """Return a property's text, or the URI that it refers to; None if there is no such property."""
        for node in self._properties(lambda other: other == name):
            if isinstance(node, Attr):
                return node.value
            return node.getAttributeNS(RDF, "resource") or _text(node)
        return None

    def replace(self, name: PropertyName, value: str) -> None:
        """Replace the value of a property, if the packet has it; it stays an attribute or element."""
        for node in self._properties(lambda other: other == name):
            if isinstance(node, Attr):
                node.value = value
            else:
                for child in list(node.childNodes):
                    node.removeChild(child)
                node.appendChild(self.document.createTextNode(value))

    def drop(self, unwanted: Callable[[PropertyName], bool]) -> None:
        """Remove properties."""
        for node in self._properties(unwanted):
            _remove(node)

    def drop_place(self) -> list[str]:
        """Remove where the photo was taken, at any depth and in any namespace, and return the names of these properties.

        The address of the photo's creator stays.
        """
        dropped = set()
        for element in list(_walk(self.document)):
            nodes: list[Attr | Element] = [*_attributes(element), element]
            for node in nodes:
                if node.namespaceURI not in (XMLNS, RDF, META) and is_place(node.localName or ""):
                    dropped.add(node.localName or "")
                    _remove(node)
        return sorted(dropped)

    def has_gain_map(self) -> bool:
        """Return whether the packet describes a gain map, by which viewers turn the image into one of high dynamic range."""
        return bool(self._properties(lambda name: name.namespace in GAIN_MAPS))

    def drop_auxiliary_images(self) -> None:
        """Remove properties of images that a converted file does not hold: thumbnails, depth, videos."""
        self.drop(
            lambda name: (
                name.namespace in AUXILIARY_IMAGES
                or name in (PropertyName(XMP, "Thumbnails"), PropertyName(XMP_NOTE, "HasExtendedXMP"))
                or (name.namespace == CAMERA and name.name.startswith(("MotionPhoto", "MicroVideo")))
            )
        )

    def add(self, values: Mapping[PropertyName, str]) -> None:
        """Set properties, in a description of their own."""
        self.drop(values.__contains__)
        others = self._descriptions()
        about = others[0].getAttributeNS(RDF, "about") if others else ""  # all of a packet are about the same
        description = self.document.createElementNS(RDF, "rdf:Description")
        description.setAttributeNS(XMLNS, "xmlns:rdf", RDF)
        description.setAttributeNS(RDF, "rdf:about", about)
        for namespace in sorted({name.namespace for name in values}):
            description.setAttributeNS(XMLNS, f"xmlns:{PREFIXES[namespace]}", namespace)
        for name, value in values.items():
            printable = "".join(character for character in value if character.isprintable())
            description.setAttributeNS(name.namespace, f"{PREFIXES[name.namespace]}:{name.name}", printable)
        self.rdf.appendChild(description)

    def shrink(self, size: int, keep: Callable[[PropertyName], bool]) -> None:
        """Remove the largest properties, except those to keep, until the packet is no larger than `size` bytes."""
        excess = len(bytes(self)) - size
        sizes = [(_size(node), node) for node in self._properties(lambda name: not keep(name))]
        for own, node in sorted(sizes, key=lambda pair: pair[0], reverse=True):
            if excess <= 0:
                return
            _remove(node)
            excess -= own

    def _descriptions(self) -> list[Element]:
        return [node for node in self.rdf.childNodes if isinstance(node, Element)]

    def _properties(self, wanted: Callable[[PropertyName], bool]) -> list[Attr | Element]:
        """Return the properties whose names are wanted."""
        nodes: list[Attr | Element] = []
        for description in self._descriptions():
            nodes += [node for node in _attributes(description) if node.namespaceURI not in (XMLNS, RDF)]
            nodes += [node for node in description.childNodes if isinstance(node, Element)]
        return [node for node in nodes if wanted(PropertyName(node.namespaceURI or "", node.localName))]

    def __bytes__(self) -> bytes:
        assert self.document.documentElement is not None
        return (_BEGIN + self.document.documentElement.toxml() + _END).encode()


def _parse(data: bytes) -> Document:
    """Parse a packet without expanding or fetching anything. ValueError if it is not XML or exceeds the limits."""
    from defusedxml import minidom  # type: ignore[import-untyped]

    data = data.strip(b"\0 \t\r\n")
    if len(data) > MAX_BYTES or data.count(b"<") > MAX_TAGS:
        raise ValueError("larger than XMP is")
    try:
        document: Document = minidom.parseString(data, forbid_dtd=True)
        for _ in _walk(document):
            pass
    except Exception as e:  # of the XML parser, of the text's encoding, of defusedxml
        raise ValueError(f"is not XML: {one_line(e, 80)}") from None
    return document


def _empty() -> Document:
    document = Document()
    meta = document.createElementNS(META, "x:xmpmeta")
    meta.setAttributeNS(XMLNS, "xmlns:x", META)
    rdf = document.createElementNS(RDF, "rdf:RDF")
    rdf.setAttributeNS(XMLNS, "xmlns:rdf", RDF)
    document.appendChild(meta).appendChild(rdf)
    return document


def _walk(document: Document) -> Iterator[Element]:
    """Yield all elements, outer ones first. ValueError if they are nested too deep."""
    level: list[Element] = [node for node in document.childNodes if isinstance(node, Element)]
    depth = 0
    while level:
        yield from level
        depth += 1
        if depth > MAX_DEPTH:
            raise ValueError("nested too deep")
        level = [node for element in level for node in element.childNodes if isinstance(node, Element)]


def _elements(document: Document, namespace: str, name: str) -> list[Element]:
    return [node for node in _walk(document) if node.namespaceURI == namespace and node.localName == name]


def _attributes(element: Element) -> list[Attr]:
    return list(element.attributes.values()) if element.hasAttributes() else []


def _remove(node: Attr | Element) -> None:
    if isinstance(node, Attr):
        assert node.ownerElement is not None
        node.ownerElement.removeAttributeNode(node)
    elif node.parentNode is not None:  # not yet removed with its parent
        node.parentNode.removeChild(node)


def _text(element: Element) -> str:
    return "".join(
        node.data for node in element.childNodes if node.nodeType in (node.TEXT_NODE, node.CDATA_SECTION_NODE)
    )


def _size(node: Attr | Element) -> int:
    """Return a lower bound of the bytes that a property takes."""
    return len((node.value if isinstance(node, Attr) else node.toxml()).encode())
