//! XMP: an XML text, of which only the names of properties matter here.
//!
//! No XML parser: the text may be cut into pieces, damaged, or megabytes long because it holds a depth map, and all that is
//! asked is whether one of some properties has a value. What a prefix means is believed wherever in the text it is said, and
//! of the usual ones always.
//!
//! Source: Adobe XMP specification parts 1 to 3, IPTC Photo Metadata Standard.

use std::collections::BTreeMap;

/// Longest name of a property with its prefix, and how far behind it a value must begin.
const AROUND: usize = 160;
/// Prefixes of one text that are used for places, or that mean one of our namespaces. Editors write a few.
const PREFIX_LIMIT: usize = 64;

/// Names of positions, whatever their prefix: Exif's, and those of the makers of drones. Some write them differently.
const POSITIONS: [&str; 6] =
    ["GPSLatitude", "GPSLongitude", "GPSLongtitude", "GPSDestLatitude", "GPSDestLongitude", "GPSAreaInformation"];
/// Names of places by namespace.
const NAMESPACES: [Namespace; 3] = [
    Namespace { prefix: "photoshop", uri: "http://ns.adobe.com/photoshop/", places: &["City", "State", "Country"] },
    Namespace {
        prefix: "Iptc4xmpCore",
        uri: "http://iptc.org/std/Iptc4xmpCore/",
        places: &["Location", "CountryCode"],
    },
    Namespace {
        prefix: "Iptc4xmpExt",
        uri: "http://iptc.org/std/Iptc4xmpExt/",
        places: &["LocationCreated", "LocationShown", "City", "Sublocation", "ProvinceState", "CountryName"],
    },
];
/// How the URIs of all of them begin.
const SCHEME: &str = "http";

struct Namespace {
    /// As nearly everybody writes it.
    prefix: &'static str,
    /// Without its version.
    uri: &'static str,
    places: &'static [&'static str],
}

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
    prefixes: Prefixes,
}

/// What is known of prefixes.
#[derive(Default)]
struct Prefixes(BTreeMap<Vec<u8>, Prefix>);

/// What is known of a prefix, as sets of namespaces: one bit for each. An attribute may use a prefix before the element says
/// what it means.
#[derive(Clone, Copy, Default)]
struct Prefix {
    /// Those that it was said to mean.
    meant: u8,
    /// Those of which a place was named with it.
    used: u8,
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

    /// Looks at the names before `end`.
    fn scan(&mut self, end: usize) {
        while !self.found && self.seen < end {
            let begins = |byte: &u8| matches!(byte, b':' | b'<');
            let Some(offset) = self.text[self.seen..end].iter().position(begins) else { break };
            let at = self.seen + offset;
            self.look_at(at);
            self.seen = at + 1;
        }
        self.seen = self.seen.max(end);
    }

    /// Looks at the name behind a colon, or behind what opens an element.
    fn look_at(&mut self, at: usize) {
        if let Some((namespace, prefix)) = declaration(&self.text, at) {
            self.found = self.prefixes.note(prefix, Prefix { meant: 1 << namespace, used: 0 });
            return;
        }
        let Some((prefix, name, behind)) = property(&self.text, at) else { return };
        let has_place = |namespace: &Namespace| is_one_of(name, namespace.places);
        let is_usual = |namespace: &Namespace| is_one_of(prefix, &[namespace.prefix]) && has_place(namespace);
        if is_position(name) || NAMESPACES.iter().any(is_usual) {
            self.found = has_value(behind);
            return;
        }
        let bit = |(number, namespace)| if has_place(namespace) { 1_u8 << number } else { 0 };
        let used = NAMESPACES.iter().enumerate().map(bit).sum();
        self.found = used != 0 && has_value(behind) && self.prefixes.note(prefix, Prefix { meant: 0, used });
    }
}

impl Prefixes {
    /// Adds to what is known of a prefix; whether a place is named with it.
    fn note(&mut self, prefix: &[u8], more: Prefix) -> bool {
        if let Some(known) = self.0.get_mut(prefix) {
            known.meant |= more.meant;
            known.used |= more.used;
            return known.meant & known.used != 0;
        }
        self.0.insert(prefix.to_vec(), more);
        // Whoever writes of places in so many ways names one.
        self.0.len() > PREFIX_LIMIT
    }
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

fn is_one_of(name: &[u8], names: &[&str]) -> bool {
    names.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
}

/// A namespace of ours, by its number, and the prefix that means it, if this is the colon of its URI. The prefix is empty
/// if it is meant where there is none.
fn declaration(text: &[u8], colon: usize) -> Option<(usize, &[u8])> {
    let uri = colon.checked_sub(SCHEME.len())?;
    let namespace = NAMESPACES.iter().position(|namespace| text[uri..].starts_with(namespace.uri.as_bytes()))?;
    let before = &text[uri.saturating_sub(AROUND)..uri];
    let before = before.strip_suffix(b"\"").or_else(|| before.strip_suffix(b"'"))?;
    let before = before.trim_ascii_end().strip_suffix(b"=")?.trim_ascii_end();
    let name = before.iter().rev().take_while(|byte| is_name(**byte)).count();
    let (in_front, name) = before.split_at(before.len() - name);
    let prefix = if in_front.ends_with(b"xmlns:") { Some(name) } else { (name == b"xmlns").then_some(&name[..0]) };
    prefix.map(|prefix| (namespace, prefix))
}

/// The prefix and the name of a property that has its colon here, or that has no prefix and begins here, and what follows.
fn property(text: &[u8], at: usize) -> Option<(&[u8], &[u8], &[u8])> {
    let name = text[at + 1..].iter().take(AROUND).take_while(|byte| is_name(**byte)).count();
    let (name, behind) = text[at + 1..].split_at(name);
    let behind = &behind[..behind.len().min(AROUND)];
    if text[at] == b'<' {
        // With a prefix it is met at its colon.
        return (!behind.starts_with(b":")).then_some((&name[..0], name, behind));
    }
    let before = &text[at.saturating_sub(AROUND)..at];
    let prefix = before.iter().rev().take_while(|byte| is_name(**byte)).count();
    let (in_front, prefix) = before.split_at(before.len() - prefix);
    // What closes an element has been met when it opened.
    (!in_front.ends_with(b"/")).then_some((prefix, name, behind))
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
    // A tag that breaks off ends where the next one begins.
    let ends = |byte: &u8| matches!(byte, b'>' | b'<');
    let Some(tag_end) = behind.iter().position(ends) else { return !behind.is_empty() };
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
            // Without a prefix, or with one that means what another usually does.
            "<GPSLatitude>48,8.5N</GPSLatitude>",
            r#"<x xmlns:ps="http://ns.adobe.com/photoshop/1.0/" ps:City="Munich">"#,
            r#"<x ps:City="Munich" xmlns:ps = 'http://ns.adobe.com/photoshop/1.0/'>"#,
            r#"<City xmlns="http://ns.adobe.com/photoshop/1.0/">Munich</City>"#,
            r#"<x xmlns:a="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"><a:LocationShown><rdf:Bag>"#,
            r#"<x xmlns:a="http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/"/><y a:Location="Marienplatz"/>"#,
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
            r#"<x xmlns:ps="http://ns.adobe.com/photoshop/1.0/" ps:City="" ps:Credit="x" other:City="Munich">"#,
            r#"<x xmlns:ps="http://ns.adobe.com/photoshop/1.0/" ps:Location="x"><City>Munich</City>"#,
            r#"<x ps:City="Munich" y="http://ns.adobe.com/photoshop/1.0/" xmlns:ps="http://example.com/">"#,
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
    fn prefixes_without_end_are_not_remembered() {
        let named = |count: usize| {
            let places: Vec<String> = (0..count).map(|number| format!(" p{number}:City='x'")).collect();
            places.concat()
        };
        assert!(!names_place(named(PREFIX_LIMIT).repeat(3).as_bytes()));
        assert!(names_place(named(PREFIX_LIMIT + 1).as_bytes()));
    }

    #[test]
    fn pieces_are_read_as_one_text() {
        let declared = r#"<x xmlns:ps="http://ns.adobe.com/photoshop/1.0/" "#;
        for place in [r#"<x exif:GPSLatitude="48,8.5N">"#.to_owned(), format!(r#"{declared}ps:City="Munich">"#)] {
            assert_found_in_pieces(&[" ".repeat(500), place, "y".repeat(500)].concat());
        }
    }

    fn assert_found_in_pieces(packet: &str) {
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
