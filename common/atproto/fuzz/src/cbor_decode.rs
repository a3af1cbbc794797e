//! What decodes is the only encoding of its value, as an encoder shows that shares no code with ours; and its JSON reads
//! back.

use atproto::data::{Cid, Ipld, cbor, check, check_strict, find_blobs, json};

use super::draw::Draw;

/// The first byte says whether the rest is CBOR or a recipe for a value.
pub fn run(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    if kind & 1 == 0 {
        decode(bytes);
    } else {
        let mut draw = Draw::new(bytes);
        let (mut items, mut block) = (0, Vec::new());
        let value = draw_value(&mut draw, 0, &mut items);
        write(&value, &mut block);
        // What is too big is not encoded.
        if check(&value).is_ok() && block.len() <= cbor::MAX_LEN {
            assert_eq!(cbor::encode(&value).expect("a value"), block);
            decode(&block);
            let at = draw.below(block.len());
            block[at] ^= draw.byte();
        }
        decode(&block);
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let link = Ipld::Link(Cid::raw(b"").into());
    let mut value = Ipld::List(vec![Ipld::Null, Ipld::Bool(true), Ipld::Integer(-1), Ipld::Integer(1 << 40), link]);
    for key in ["a", "$type", "bytes", "\u{1f600}"] {
        let bytes = Ipld::Bytes(vec![0; 30]);
        value = Ipld::Map([(key.to_owned(), value), ("$link".to_owned(), bytes), (String::new(), Ipld::Null)].into());
    }
    let encoded = cbor::encode(&value).expect("a value");
    let deep = [vec![0x81; 100], vec![0xf6]].concat();
    let recipe: Vec<u8> = (0..200_u8).map(|number| number.wrapping_mul(37)).collect();
    let cbor = [encoded, deep].map(|block| [vec![0], block].concat());
    cbor.into_iter().chain([[vec![1], recipe].concat()]).collect()
}

fn decode(bytes: &[u8]) {
    let Ok(value) = cbor::decode(bytes) else { return };
    assert_eq!(cbor::encode(&value).expect("decoded values are encodable"), bytes);
    let mut canonical = Vec::new();
    write(&value, &mut canonical);
    assert_eq!(canonical, bytes);
    let read = json::from_json(&json::to_json(&value)).expect("decoded values have a JSON form");
    // A map in CBOR may look like a link in JSON; the strict check refuses such maps.
    assert!(read == value || check_strict(&value).is_err());
    find_blobs(&value);
}

/// DAG-CBOR as its specification says it, with no thought of speed.
fn write(value: &Ipld, out: &mut Vec<u8>) {
    match value {
        Ipld::Null => out.push(0xf6),
        Ipld::Bool(value) => out.push(if *value { 0xf5 } else { 0xf4 }),
        Ipld::Integer(value) if *value < 0 => write_head(1, -1 - value, out),
        Ipld::Integer(value) => write_head(0, *value, out),
        Ipld::Float(value) => out.extend([&[0xfb][..], &value.to_be_bytes()].concat()),
        Ipld::Bytes(bytes) => write_text(2, bytes, out),
        Ipld::String(text) => write_text(3, text.as_bytes(), out),
        Ipld::List(items) => {
            write_head(4, items.len() as i128, out);
            for item in items {
                write(item, out);
            }
        }
        Ipld::Map(entries) => {
            let mut entries: Vec<_> = entries.iter().collect();
            entries.sort_by_key(|(key, _)| (key.len(), key.as_bytes()));
            write_head(5, entries.len() as i128, out);
            for (key, entry) in entries {
                write_text(3, key.as_bytes(), out);
                write(entry, out);
            }
        }
        Ipld::Link(cid) => {
            write_head(6, 42, out);
            write_text(2, &[&[0][..], &cid.to_bytes()].concat(), out);
        }
    }
}

fn write_text(major: u8, bytes: &[u8], out: &mut Vec<u8>) {
    write_head(major, bytes.len() as i128, out);
    out.extend(bytes);
}

fn write_head(major: u8, value: i128, out: &mut Vec<u8>) {
    let bytes = value.to_be_bytes();
    let (code, width) = match value {
        0..24 => (bytes[15], 0),
        24..0x100 => (24, 1),
        0x100..0x1_0000 => (25, 2),
        0x1_0000..0x1_0000_0000 => (26, 4),
        _ => (27, 8),
    };
    out.push(major << 5 | code);
    out.extend(&bytes[16 - width..]);
}

fn draw_value(draw: &mut Draw<'_>, depth: usize, items: &mut usize) -> Ipld {
    *items += 1;
    // Beyond what is allowed, but not beyond what the stack bears.
    let deepest = depth > 110 || *items > 2000;
    match draw.byte() % if deepest { 6 } else { 10 } {
        0 => Ipld::Null,
        1 => Ipld::Bool(draw.bool()),
        2 => Ipld::Integer((i128::from(draw.pair()) - 0x8000) << (draw.byte() % 50)),
        3 => Ipld::Bytes(draw.bytes().to_vec()),
        4 => Ipld::String(String::from_utf8_lossy(draw.bytes()).into_owned()),
        5 => Ipld::Link(if draw.bool() { Cid::raw(b"") } else { Cid::dag_cbor(b"") }.into()),
        6 | 7 => Ipld::List((0..draw.byte() % 8).map(|_| draw_value(draw, depth + 1, items)).collect()),
        _ => {
            let mut entry = || {
                let key = match draw.byte() % 8 {
                    0 => "$type".to_owned(),
                    1 => "$link".to_owned(),
                    2 => "$bytes".to_owned(),
                    _ => String::from_utf8_lossy(draw.bytes()).into_owned(),
                };
                (key, draw_value(draw, depth + 1, items))
            };
            Ipld::Map((0..4).map(|_| entry()).collect())
        }
    }
}
