//! What is logged, and where to.

use std::path::PathBuf;

use super::reader::Reader;

/// Logging. These variables have no `PDS_` prefix.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// `LOG_ENABLED`: `true`, `t` or `1`; default off.
    pub enabled: bool,
    /// `LOG_LEVEL`, default info.
    pub level: LogLevel,
    /// Subsystems to log, as `pds:db` or `pds:sequencer`; empty means all. `LOG_SYSTEMS`, separated by spaces.
    pub systems: Vec<String>,
    /// File to append to; unset means the standard output. `LOG_DESTINATION`.
    pub destination: Option<PathBuf>,
    /// `LOG_FORMAT`: `json` (default) or `text`. Ours.
    pub format: LogFormat,
}

/// The least severe message that is logged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum LogLevel {
    /// `trace`.
    Trace,
    /// `debug`.
    Debug,
    /// `info`.
    #[default]
    Info,
    /// `warn`.
    Warn,
    /// `error`, and `fatal`, which has no counterpart here.
    Error,
    /// `silent`.
    Silent,
}

/// The form of a log line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum LogFormat {
    /// One JSON object per line.
    #[default]
    Json,
    /// For people.
    Text,
}

impl LogConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let enabled = reader.string("LOG_ENABLED").is_some_and(|value| matches!(value.as_str(), "true" | "t" | "1"));
        // Reference: only the first comma separates.
        let systems = reader.string("LOG_SYSTEMS").map(|value| value.replacen(',', " ", 1)).unwrap_or_default();
        Self {
            enabled,
            level: read_level(reader),
            systems: systems.split_whitespace().map(str::to_owned).collect(),
            destination: reader.string("LOG_DESTINATION").map(PathBuf::from),
            format: read_format(reader),
        }
    }
}

fn read_level(reader: &mut Reader<'_>) -> LogLevel {
    match reader.string("LOG_LEVEL").as_deref() {
        None | Some("info") => LogLevel::Info,
        Some("trace") => LogLevel::Trace,
        Some("debug") => LogLevel::Debug,
        Some("warn") => LogLevel::Warn,
        Some("error" | "fatal") => LogLevel::Error,
        Some("silent") => LogLevel::Silent,
        Some(_) => {
            reader.problem("LOG_LEVEL", "must be one of trace, debug, info, warn, error, fatal, silent");
            LogLevel::default()
        }
    }
}

fn read_format(reader: &mut Reader<'_>) -> LogFormat {
    match reader.string("LOG_FORMAT").as_deref() {
        None | Some("json") => LogFormat::Json,
        Some("text") => LogFormat::Text,
        Some(_) => {
            reader.problem("LOG_FORMAT", "must be json or text");
            LogFormat::default()
        }
    }
}
