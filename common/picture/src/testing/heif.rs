//! HEIF files for tests.

use super::part;

/// A HEIF file with an empty picture.
#[derive(Clone, Default, Debug)]
pub struct Heif {
    /// What is in it.
    pub items: Vec<Item>,
    /// Boxes of the table besides those that say what the items are and where.
    pub boxes: Vec<Vec<u8>>,
}

/// An item of a HEIF file.
#[derive(Clone, Debug)]
pub struct Item {
    /// What it is. A `mime` is XMP.
    pub kind: [u8; 4],
    /// How it is compressed, as it says; empty if it is not.
    pub coding: &'static str,
    /// Whether it is said to be encrypted.
    pub is_protected: bool,
    /// Whether its data are in `idat`, not in `mdat`.
    pub is_in_table: bool,
    /// Its bytes.
    pub data: Vec<u8>,
}

impl Item {
    /// An item as most files have it.
    pub fn new(kind: [u8; 4], data: Vec<u8>) -> Self {
        Self { kind, coding: "", is_protected: false, is_in_table: false, data }
    }

    /// What it is, as the table says it.
    fn entry(&self, id: u16) -> Vec<u8> {
        let protection = [0, u8::from(self.is_protected)];
        let mut entry = [&[2, 0, 0, 0], id.to_be_bytes().as_slice(), &protection, &self.kind, b"\0"].concat();
        if self.kind == *b"mime" {
            entry.extend(b"application/rdf+xml\0");
        }
        if !self.coding.is_empty() {
            entry.extend(self.coding.as_bytes());
            entry.push(0);
        }
        part(*b"infe", &entry)
    }
}

/// A HEIF file with these items, whose data are in an `mdat` at its end.
pub fn heif(items: &[([u8; 4], Vec<u8>)]) -> Vec<u8> {
    let items = items.iter().map(|(kind, data)| Item::new(*kind, data.clone())).collect();
    Heif { items, boxes: Vec::new() }.to_bytes()
}

impl Heif {
    /// The file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let front = part(*b"ftyp", b"mif1\0\0\0\0mif1heicmiaf");
        let meta_len = self.meta(0).len();
        let meta = self.meta(front.len() + meta_len + 8);
        [front, meta, part(*b"mdat", &self.data(false))].concat()
    }

    /// The data of items that are in the table, or of those that are not.
    fn data(&self, is_in_table: bool) -> Vec<u8> {
        self.items.iter().filter(|item| item.is_in_table == is_in_table).flat_map(|item| item.data.clone()).collect()
    }

    /// The table, if the other items' data begin at `at`.
    fn meta(&self, mut at: usize) -> Vec<u8> {
        let count = u16::try_from(self.items.len()).unwrap_or(0).to_be_bytes();
        let mut kinds = [&[0; 4], count.as_slice()].concat();
        // Version 1; offsets and lengths of four bytes.
        let mut places = [&[1, 0, 0, 0, 0x44, 0], count.as_slice()].concat();
        let mut at_in_table = 0;
        for (id, item) in (1_u16..).zip(&self.items) {
            kinds.extend(item.entry(id));
            let at = if item.is_in_table { &mut at_in_table } else { &mut at };
            places.extend([id.to_be_bytes().as_slice(), &[0, u8::from(item.is_in_table), 0, 0, 0, 1]].concat());
            places.extend(u32::try_from(*at).unwrap_or(0).to_be_bytes());
            places.extend(u32::try_from(item.data.len()).unwrap_or(0).to_be_bytes());
            *at += item.data.len();
        }
        let handler = part(*b"hdlr", b"\0\0\0\0\0\0\0\0pict\0\0\0\0\0\0\0\0\0\0\0\0\0");
        let first = part(*b"pitm", &[0, 0, 0, 0, 0, 1]);
        let own_data = part(*b"idat", &self.data(true));
        let content = [
            vec![0; 4],
            handler,
            first,
            part(*b"iinf", &kinds),
            part(*b"iloc", &places),
            own_data,
            self.boxes.concat(),
        ];
        part(*b"meta", &content.concat())
    }
}
