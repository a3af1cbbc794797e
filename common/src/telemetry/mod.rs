//! Logs: what is written, in which form, where to. And [`metrics`].
//!
//! Messages carry ids and durations; never tokens, mail addresses, IP addresses or bodies.

pub mod metrics;
mod systems;

use std::{
    fs::{File, OpenOptions},
    io,
    path::PathBuf,
    sync::Mutex,
};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    Layer, Registry,
    filter::Targets,
    fmt::{self, MakeWriter},
    layer::SubscriberExt,
    util::{SubscriberInitExt, TryInitError},
};

use crate::config::{LogConfig, LogFormat, LogLevel};

/// Why logging could not start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// `LOG_DESTINATION` cannot be written to.
    #[error("cannot open the log file {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It was started already.
    #[error("logging was started already")]
    Started(#[from] TryInitError),
}

/// Starts logging for this process; to be called once, early.
///
/// Panics are logged too, besides what the standard hook prints.
pub fn init(config: &LogConfig) -> Result<(), TelemetryError> {
    if !config.enabled || config.level == LogLevel::Silent {
        return Ok(());
    }
    let output = match &config.destination {
        Some(path) => layer(config.format, Mutex::new(open(path)?)),
        None => layer(config.format, io::stdout),
    };
    tracing_subscriber::registry().with(output.with_filter(filter(config))).try_init()?;
    log_panics();
    Ok(())
}

fn open(path: &PathBuf) -> Result<File, TelemetryError> {
    let opened = OpenOptions::new().create(true).append(true).open(path);
    opened.map_err(|source| TelemetryError::Open { path: path.clone(), source })
}

fn layer<W>(format: LogFormat, writer: W) -> Box<dyn Layer<Registry> + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    match format {
        LogFormat::Json => fmt::layer().json().flatten_event(true).with_current_span(false).with_writer(writer).boxed(),
        LogFormat::Text => fmt::layer().with_ansi(false).with_writer(writer).boxed(),
    }
}

/// Ours at the configured level, others only when something is wrong with them.
fn filter(config: &LogConfig) -> Targets {
    let level = match config.level {
        LogLevel::Trace => LevelFilter::TRACE,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Silent => LevelFilter::OFF,
    };
    let targets = Targets::new().with_targets(systems::targets(&config.systems).into_iter().map(|name| (name, level)));
    if config.systems.is_empty() { targets.with_default(level.min(LevelFilter::WARN)) } else { targets }
}

fn log_panics() {
    let standard = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(location, "panicked");
        standard(panic);
    }));
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    fn config(systems: &[&str]) -> LogConfig {
        let systems = systems.iter().map(|name| (*name).to_owned()).collect();
        LogConfig { enabled: true, level: LogLevel::Debug, systems, destination: None, format: LogFormat::Json }
    }

    #[test]
    fn others_are_heard_only_when_something_is_wrong() {
        let filter = filter(&config(&[]));
        assert!(filter.would_enable("common::sequencer", &Level::DEBUG));
        assert!(!filter.would_enable("hyper", &Level::INFO));
        assert!(filter.would_enable("hyper", &Level::WARN));
    }

    #[test]
    fn chosen_systems_are_heard_alone() {
        let filter = filter(&config(&["pds:db", "pds:oauth"]));
        assert!(filter.would_enable("common::db::schema", &Level::DEBUG));
        assert!(filter.would_enable("api::oauth", &Level::DEBUG));
        assert!(!filter.would_enable("common::sequencer", &Level::ERROR));
        assert!(!filter.would_enable("hyper", &Level::ERROR));
    }
}
