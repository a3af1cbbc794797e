//! What the operator's mails wear.

use common::config::{Color, MailConfig};

/// The reference server's colour.
const DEFAULT_COLOR: Color = Color { red: 0x06, green: 0x7d, blue: 0xf7 };
/// The reference server's home.
const DEFAULT_HOME: &str = "https://bsky.app";

/// Name, links and colours, as templates see them.
#[derive(Clone, Debug)]
pub(super) struct Brand {
    pub(super) service: Service,
    pub(super) color: Colors,
}

#[derive(Clone, Debug)]
pub(super) struct Service {
    pub(super) name: String,
    pub(super) home_url: String,
    pub(super) logo_url: Option<String>,
    pub(super) support_url: Option<String>,
}

#[derive(Clone, Debug)]
pub(super) struct Colors {
    pub(super) primary: String,
    /// What is read well on the primary colour.
    pub(super) on_primary: &'static str,
}

impl Brand {
    pub(super) fn new(config: &MailConfig) -> Self {
        let primary = config.branding.primary.unwrap_or(DEFAULT_COLOR);
        let service = &config.service;
        Self {
            service: Service {
                name: service.name.clone(),
                home_url: service.home_url.clone().unwrap_or_else(|| DEFAULT_HOME.to_owned()),
                logo_url: service.logo_url.clone(),
                support_url: service.support_url.clone(),
            },
            color: Colors {
                primary: primary.to_string(),
                on_primary: if is_light(primary) { "#111827" } else { "#ffffff" },
            },
        }
    }
}

/// Whether dark letters are read better on it. Source: ITU-R BT.601, luma.
fn is_light(Color { red, green, blue }: Color) -> bool {
    299 * u32::from(red) + 587 * u32::from(green) + 114 * u32::from(blue) > 150_000
}

#[cfg(test)]
mod tests {
    use common::config::Config;

    use super::*;

    #[test]
    fn letters_are_read_on_every_colour() {
        let on = |red, green, blue| {
            let mut config = Config::for_tests().mail();
            config.branding.primary = Some(Color { red, green, blue });
            Brand::new(&config).color.on_primary
        };
        assert_eq!((on(255, 230, 0), on(0, 0, 0), on(6, 125, 247)), ("#111827", "#ffffff", "#ffffff"));
    }
}
