//! The OAuth server and the look of its pages. Ignored in entryway mode.

use std::{fmt, str::FromStr};

use secrecy::SecretString;

use super::reader::Reader;

/// OAuth clients, captcha and branding.
#[derive(Clone, Debug)]
pub struct OauthConfig {
    /// Ids of clients whose name and logo are shown and who may sign on silently. `PDS_OAUTH_TRUSTED_CLIENTS`.
    pub trusted_clients: Vec<String>,
    /// Captcha of the sign-up page; off unless all three of its variables are set.
    pub hcaptcha: Option<HcaptchaConfig>,
    /// The look of the pages.
    pub branding: BrandingConfig,
}

/// `PDS_HCAPTCHA_SITE_KEY`, `PDS_HCAPTCHA_SECRET_KEY` and `PDS_HCAPTCHA_TOKEN_SALT`; the last two also as `_FILE`.
#[derive(Clone, Debug)]
pub struct HcaptchaConfig {
    /// Public key of the site.
    pub site_key: String,
    /// Key for checking answers.
    pub secret_key: SecretString,
    /// Salt of the visitor's hash.
    pub token_salt: SecretString,
}

/// Colours and pictures of the pages; unset means the built-in look.
#[derive(Clone, Debug, Default)]
pub struct BrandingConfig {
    /// `PDS_PRIMARY_COLOR`.
    pub primary: Option<Color>,
    /// `PDS_ERROR_COLOR`.
    pub error: Option<Color>,
    /// `PDS_WARNING_COLOR`.
    pub warning: Option<Color>,
    /// `PDS_INFO_COLOR`.
    pub info: Option<Color>,
    /// `PDS_SUCCESS_COLOR`.
    pub success: Option<Color>,
    /// `PDS_BACKGROUND_LIGHT_URL`.
    pub background_light_url: Option<String>,
    /// `PDS_BACKGROUND_DARK_URL`.
    pub background_dark_url: Option<String>,
}

impl OauthConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let site_key = reader.string("PDS_HCAPTCHA_SITE_KEY");
        let secret_key = reader.secret("PDS_HCAPTCHA_SECRET_KEY");
        let token_salt = reader.secret("PDS_HCAPTCHA_TOKEN_SALT");
        let hcaptcha = match (site_key, secret_key, token_salt) {
            (Some(site_key), Some(secret_key), Some(token_salt)) => {
                Some(HcaptchaConfig { site_key, secret_key, token_salt })
            }
            (None, None, None) => None,
            _ => {
                reader.warn("only some of the PDS_HCAPTCHA_* variables are set; sign-up has no captcha".to_owned());
                None
            }
        };
        Self {
            trusted_clients: reader.list("PDS_OAUTH_TRUSTED_CLIENTS"),
            hcaptcha,
            branding: BrandingConfig::read(reader),
        }
    }
}

impl BrandingConfig {
    fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            primary: reader.parsed("PDS_PRIMARY_COLOR"),
            error: reader.parsed("PDS_ERROR_COLOR"),
            warning: reader.parsed("PDS_WARNING_COLOR"),
            info: reader.parsed("PDS_INFO_COLOR"),
            success: reader.parsed("PDS_SUCCESS_COLOR"),
            background_light_url: reader.url("PDS_BACKGROUND_LIGHT_URL").map(String::from),
            background_dark_url: reader.url("PDS_BACKGROUND_DARK_URL").map(String::from),
        }
    }
}

/// An opaque CSS colour: `#rgb`, `#rrggbb` or `rgb(r, g, b)` with numbers from 0 to 255.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Color {
    /// Red.
    pub red: u8,
    /// Green.
    pub green: u8,
    /// Blue.
    pub blue: u8,
}

/// A colour that is none, or that has an alpha channel.
#[derive(Debug, thiserror::Error)]
#[error("expected a colour without alpha, such as #1a2b3c or rgb(26, 43, 60)")]
pub struct ColorError;

impl FromStr for Color {
    type Err = ColorError;

    fn from_str(text: &str) -> Result<Self, ColorError> {
        let text = text.trim();
        let channels = match text.strip_prefix('#') {
            Some(digits) => hex_channels(digits),
            None => text.strip_prefix("rgb(").and_then(|rest| rest.strip_suffix(')')).and_then(decimal_channels),
        };
        let [red, green, blue] = channels.ok_or(ColorError)?;
        Ok(Self { red, green, blue })
    }
}

impl fmt::Display for Color {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{:02x}{:02x}{:02x}", self.red, self.green, self.blue)
    }
}

fn hex_channels(digits: &str) -> Option<[u8; 3]> {
    if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let (width, scale) = match digits.len() {
        3 => (1, 17),
        6 => (2, 1),
        _ => return None,
    };
    let channel = |index: usize| {
        let pair = digits.get(index * width..(index + 1) * width)?;
        u8::from_str_radix(pair, 16).ok().map(|value| value * scale)
    };
    Some([channel(0)?, channel(1)?, channel(2)?])
}

fn decimal_channels(text: &str) -> Option<[u8; 3]> {
    let mut numbers = text.split([',', ' ']).filter(|part| !part.is_empty()).map(str::parse);
    let channels = [numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?];
    numbers.next().is_none().then_some(channels)
}

#[cfg(test)]
mod tests {
    use super::Color;

    #[test]
    fn colours_without_alpha() {
        let expected = Color { red: 0x11, green: 0xaa, blue: 0xff };
        for text in ["#1af", "#11AAff", "rgb(17, 170, 255)", "rgb(17 170 255)"] {
            assert_eq!(text.parse::<Color>().unwrap(), expected, "{text}");
        }
        for text in
            ["", "#", "#12", "#1af8", "#11aaff80", "rgb(1,2)", "rgb(1,2,3,4)", "rgb(1,2,256)", "rgba(1,2,3,0.5)", "red"]
        {
            assert!(text.parse::<Color>().is_err(), "{text}");
        }
        assert_eq!(expected.to_string(), "#11aaff");
    }
}
