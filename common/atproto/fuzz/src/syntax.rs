//! Each parser agrees with its bare check, what it takes reads back the same and is of the characters and length that
//! the specification allows.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use atproto::data::Cid;
use atproto::mst::Key;
use atproto::syntax::{AtIdentifier, AtUri, Datetime, Did, Handle, Language, Nsid, RecordKey, Tid, is_cid, is_uri};

pub fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    check::<AtIdentifier>(text, AtIdentifier::is_valid, 2048, b".-_:%");
    check::<AtUri>(text, AtUri::is_valid, 8192, b".-_:%~/");
    check::<Datetime>(text, Datetime::is_valid, 64, b"-:.+");
    check::<Did>(text, Did::is_valid, 2048, b"._:%-");
    check::<Handle>(text, Handle::is_valid, 253, b".-");
    check::<Language>(text, Language::is_valid, 128, b"-");
    check::<Nsid>(text, Nsid::is_valid, 317, b".-");
    check::<RecordKey>(text, RecordKey::is_valid, 512, b"_~.:-");
    check::<Tid>(text, Tid::is_valid, 13, b"");
    check::<Key>(text, |text| text.parse::<Key>().is_ok(), 1024, b"_~.:-/");
    check::<Cid>(text, |text| text.parse::<Cid>().is_ok(), 59, b"");
    assert!(!is_cid(text) || text.len() <= 256);
    assert!(!is_uri(text) || text.len() <= 8192);
    if let Ok(time) = text.parse::<Datetime>() {
        let millis = time.unix_millis();
        let of_year_9999 = u64::try_from(millis).is_ok_and(|millis| millis > 253_402_300_799_999);
        if let (Ok(millis), false) = (u64::try_from(millis), of_year_9999) {
            assert_eq!(Datetime::from_unix_millis(millis).unix_millis(), time.unix_millis());
        }
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    [
        "at://did:plc:ewvi7nxzyoun6zhxrhs64oiz/app.bsky.feed.post/3jzfcijpj2z2a",
        "at://Alice.test",
        "app.bsky.feed.post/self",
        "1985-04-12T23:20:50.123Z",
        "2000-02-29T00:00:00.999999-12:30",
        "did:web:localhost%3A2583",
        "zh-yue-Hant-HK",
        "en-GB-boont-r-extended-sequence-x-private",
        "i-default",
        "3jzfcijpj2z2a",
        "bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm",
        "https://example.com/a?b#c",
    ]
    .map(Into::into)
    .into()
}

fn check<T: FromStr<Err: Debug> + Display + PartialEq + Debug>(
    text: &str,
    is_valid: fn(&str) -> bool,
    max: usize,
    marks: &[u8],
) {
    let parsed = text.parse::<T>();
    assert_eq!(parsed.is_ok(), is_valid(text));
    if let Ok(parsed) = parsed {
        assert_eq!(parsed.to_string().parse::<T>().expect("written by the type itself"), parsed);
        assert!(text.len() <= max);
        assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || marks.contains(&byte)));
    }
}
