//! XMP: an XML text, of which only the names of properties matter here.
//!
//! No XML parser: the text may be cut into pieces, damaged, or megabytes long because it holds a depth map, and all that is
//! asked is whether one of some properties has a value. A place in a property whose prefix is not the usual one is found
//! for positions only.
//!
//! Source: Adobe XMP specification parts 1 to 3, IPTC Photo Metadata Standard.

/// Longest name of a property with its prefix, and how far behind it a value must begin.
const AROUND: usize = 160;

/// Names of positions, whatever their prefix: Exif's, and those of the makers of drones. Some write them differently.
const POSITIONS: [&str; 6] =
    ["GPSLatitude", "GPSLongitude", "GPSLongtitude", "GPSDestLatitude", "GPSDestLongitude", "GPSAreaInformation"];
/// Names of places by prefix.
const PLACES: [(&str, &[&str]); 3] = [
    ("photoshop", &["City", "State", "Country"]),
    ("Iptc4xmpCore", &["Location", "CountryCode"]),
    ("Iptc4xmpExt", &["LocationCreated", "LocationShown", "City", "Sublocation", "ProvinceState", "CountryName"]),
];

/// Whether a packet names a place.
pub(crate) fn names_place(packet: &[u8]) -> bool {
    let mut scanner = Scanner::default();
    scanner.push(packet);
    scanner.finish()
}

/// Whether this is the name of a property that says where something is.
pub(crate) fn is_position(name: &[u8]) -> bool {
    POSITIONS.iter().any(|position| name.eq_ignore_ascii_case(position.as_bytes()))
}

/// Looks for places in a packet that arrives in pieces.
#[derive(Default)]
pub(crate) struct Scanner {
    /// The end of what arrived, which is looked at again with what follows. Without zeros: of a text in UTF-16 the rest is
    /// readable.
    text: Vec<u8>,
    /// Bytes of it that were looked at for the beginning of a name.
    seen: usize,
    found: bool,
}

impl Scanner {
    /// Takes the next piece.
    pub(crate) fn push(&mut self, piece: &[u8]) {
        for part in piece.chunks(64 * 1024) {
            self.text.extend(part.iter().filter(|byte| **byte != 0));
            self.scan(self.text.len().saturating_sub(AROUND));
            let done = self.seen.saturating_sub(AROUND);
            self.text.drain(..done);
            self.seen -= done;
        }
    }

    /// The end; whether a place was found.
    pub(crate) fn finish(mut self) -> bool {
        self.scan(self.text.len());
        self.found
    }

    /// Looks at the colons before `end`.
    fn scan(&mut self, end: usize) {
        while !self.found && self.seen < end {
            let Some(offset) = self.text[self.seen..end].iter().position(|byte| *byte == b':') else { break };
            let colon = self.seen + offset;
            self.found = is_place_at(&self.text, colon);
            self.seen = colon + 1;
        }
        self.seen = self.seen.max(end);
    }
}

/// Whether the colon here is that of a property with a place.
fn is_place_at(text: &[u8], colon: usize) -> bool {
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let before = &text[colon.saturating_sub(AROUND)..colon];
    let prefix = before.iter().rev().take_while(|byte| is_name(byte)).count();
    let (in_front, prefix) = before.split_at(before.len() - prefix);
    let name = text[colon + 1..].iter().take(AROUND).take_while(|byte| is_name(byte)).count();
    let (name, behind) = text[colon + 1..].split_at(name);
    let behind = &behind[..behind.len().min(AROUND)];
    // What closes an element has been met when it opened.
    let opens = !in_front.ends_with(b"/");
    opens && is_place(prefix, name) && has_value(behind)
}

fn is_place(prefix: &[u8], name: &[u8]) -> bool {
    let is = |one: &[u8], other: &&str| one.eq_ignore_ascii_case(other.as_bytes());
    let is_known = |(known, names): &(&str, &[&str])| is(prefix, known) && names.iter().any(|known| is(name, known));
    is_position(name) || PLACES.iter().any(is_known)
}

/// Whether what follows the name of a property gives it a value: `="…"`, or the content of an element.
fn has_value(behind: &[u8]) -> bool {
    let behind = behind.trim_ascii_start();
    if let Some(value) = behind.strip_prefix(b"=") {
        let value = value.trim_ascii_start();
        let (Some(quote), Some(inner)) = (value.first(), value.get(1..)) else { return false };
        let end = inner.iter().position(|byte| byte == quote).unwrap_or(inner.len());
        return matches!(quote, b'"' | b'\'') && !inner[..end].trim_ascii().is_empty();
    }
    let Some(tag_end) = behind.iter().position(|byte| *byte == b'>') else { return !behind.is_empty() };
    let (attributes, content) = behind.split_at(tag_end);
    if attributes.trim_ascii_end().ends_with(b"/") {
        // Empty, unless its value is in attributes.
        return attributes.contains(&b'=');
    }
    !content[1..].trim_ascii_start().starts_with(b"</")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_found_however_they_are_written() {
        for packet in [
            r#"<rdf:Description exif:GPSLatitude="48,8.5N">"#,
            r"<exif:GPSLongitude>11,34.5E</exif:GPSLongitude>",
            r"<x drone-dji:GpsLongtitude = '+11.5'/>",
            r#"<x e:GPSDestLatitude="1,0N">"#,
            r#"<x photoshop:City="Munich">"#,
            "<Iptc4xmpCore:Location>\n Marienplatz</Iptc4xmpCore:Location>",
            r"<Iptc4xmpExt:LocationCreated><rdf:Bag><rdf:li>",
            r#"<Iptc4xmpExt:LocationShown rdf:resource="x"/>"#,
            // The text ends in the middle of it.
            r#"<x exif:GPSLatitude="48"#,
        ] {
            assert!(names_place(packet.as_bytes()), "{packet}");
            let utf16: Vec<u8> = packet.bytes().flat_map(|byte| [0, byte]).collect();
            assert!(names_place(&utf16), "{packet}");
        }
    }

    #[test]
    fn what_names_no_place_is_let_through() {
        for packet in [
            "",
            ":",
            r#"<x exif:GPSVersionID="2.3.0.0" exif:GPSTimeStamp="2024-01-01">"#,
            r#"<x exif:GPSLatitude="">"#,
            r#"<x exif:GPSLatitude=" ">"#,
            r"<exif:GPSLatitude> </exif:GPSLatitude>",
            r"<exif:GPSLatitude/>",
            r#"<x photoshop:City="" photoshop:Credit="City: Munich">"#,
            r#"<x dc:state="on" app:City="x" stEvt:location="y">"#,
            r#"<x xmlns:GPS="http://example.com/">"#,
        ] {
            assert!(!names_place(packet.as_bytes()), "{packet}");
        }
    }

    #[test]
    fn a_text_made_to_be_slow_is_read_in_a_moment() {
        // Each property would be looked through to the end of the text.
        let packet = [" x:GPSLatitude".repeat(1 << 20), "/>".to_owned()].concat();
        assert!(names_place(packet.as_bytes()));
        let packet = r#" x:GPSLatitude="""#.repeat(1 << 20);
        assert!(!names_place(packet.as_bytes()));
    }

    #[test]
    fn pieces_are_read_as_one_text() {
        let packet = [" ".repeat(500), r#"<x exif:GPSLatitude="48,8.5N">"#.to_owned(), "y".repeat(500)].concat();
        for size in [1, 2, 7, 100, 2_000] {
            for at in [0, 490, 505, 510, 520] {
                let mut scanner = Scanner::default();
                let (first, rest) = packet.as_bytes().split_at(at);
                scanner.push(first);
                rest.chunks(size).for_each(|piece| scanner.push(piece));
                assert!(scanner.text.len() <= 3 * AROUND + 64 * 1024);
                assert!(scanner.finish(), "{size} {at}");
            }
        }
    }
}
