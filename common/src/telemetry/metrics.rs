//! Counters and histograms, and the text in which Prometheus reads them.
//!
//! Plain atomics that live beside what they count: counting costs an addition, no lookup and no allocation. Whoever
//! answers a scrape writes each of them into an [`Exposition`]. Labels have few values, fixed in the code: never a DID,
//! an address, or anything else that a stranger chooses.
//!
//! Source: `prometheus.io/docs/instrumenting/exposition_formats`, text format 0.0.4.

use std::fmt::{Display, Write as _};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The media type of [`Exposition::finish`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Bounds for what takes from half a millisecond to ten seconds, in seconds.
pub const LATENCY: [f64; 14] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Something that is counted.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Zero.
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Counts one.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Counts some.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Relaxed);
    }

    /// The count.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Something that is set.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// Zero.
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Sets it.
    pub fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }

    /// Its value.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A distribution over `N` bounds, and what lies above the last of them.
#[derive(Debug)]
pub struct Histogram<const N: usize> {
    bounds: &'static [f64; N],
    /// By bound, not cumulative. What is above the last bound is only in `above`.
    buckets: [AtomicU64; N],
    above: AtomicU64,
    /// In millionths, so that it can be added to atomically.
    sum: AtomicU64,
}

impl<const N: usize> Histogram<N> {
    /// Nothing observed yet. The bounds rise.
    pub const fn new(bounds: &'static [f64; N]) -> Self {
        Self { bounds, buckets: [const { AtomicU64::new(0) }; N], above: AtomicU64::new(0), sum: AtomicU64::new(0) }
    }

    /// Observes a number of things.
    pub fn observe_count(&self, count: usize) {
        // Nothing here counts to four thousand millions.
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.observe(f64::from(count), u64::from(count) * 1_000_000);
    }

    /// Observes how long something took; the bounds are seconds.
    pub fn observe_duration(&self, duration: Duration) {
        self.observe(duration.as_secs_f64(), u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
    }

    fn observe(&self, value: f64, millionths: u64) {
        let place = self.bounds.partition_point(|bound| *bound < value);
        self.buckets.get(place).unwrap_or(&self.above).fetch_add(1, Relaxed);
        self.sum.fetch_add(millionths, Relaxed);
    }
}

impl Default for Histogram<14> {
    fn default() -> Self {
        Self::new(&LATENCY)
    }
}

/// The answer to a scrape, as it is being written.
#[derive(Debug, Default)]
pub struct Exposition {
    text: String,
}

/// Labels of a sample: names and values.
pub type Labels<'a> = &'a [(&'a str, &'a str)];

impl Exposition {
    /// Begins a family of counters. Its samples follow.
    pub fn counters(&mut self, name: &str, help: &str) {
        self.family(name, "counter", help);
    }

    /// Begins a family of gauges. Its samples follow.
    pub fn gauges(&mut self, name: &str, help: &str) {
        self.family(name, "gauge", help);
    }

    /// Begins a family of histograms. They follow.
    pub fn histograms(&mut self, name: &str, help: &str) {
        self.family(name, "histogram", help);
    }

    /// A family of one counter.
    pub fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.counters(name, help);
        self.sample(name, &[], value);
    }

    /// A family of one gauge.
    pub fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.gauges(name, help);
        self.sample(name, &[], value);
    }

    /// A value of the family that was begun last.
    pub fn sample(&mut self, name: &str, labels: Labels<'_>, value: impl Display) {
        self.text.push_str(name);
        for (place, (label, text)) in labels.iter().enumerate() {
            let before = if place == 0 { '{' } else { ',' };
            // Writing to a string does not fail.
            let _ = write!(self.text, "{before}{label}=\"{}\"", Escaped(text));
        }
        let _ = writeln!(self.text, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }

    /// A histogram of the family that was begun last.
    pub fn histogram<const N: usize>(&mut self, name: &str, labels: Labels<'_>, histogram: &Histogram<N>) {
        let bucket = format!("{name}_bucket");
        let mut total = 0;
        for (bound, count) in histogram.bounds.iter().zip(&histogram.buckets) {
            total += count.load(Relaxed);
            let bound = bound.to_string();
            self.sample(&bucket, &with_bound(labels, &bound), total);
        }
        total += histogram.above.load(Relaxed);
        self.sample(&bucket, &with_bound(labels, "+Inf"), total);
        let micros = Duration::from_micros(histogram.sum.load(Relaxed));
        self.sample(&format!("{name}_sum"), labels, micros.as_secs_f64());
        self.sample(&format!("{name}_count"), labels, total);
    }

    /// The whole text.
    pub fn finish(self) -> String {
        self.text
    }

    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }
}

fn with_bound<'a>(labels: Labels<'a>, bound: &'a str) -> Vec<(&'a str, &'a str)> {
    labels.iter().copied().chain([("le", bound)]).collect()
}

/// A label's value as the format wants it.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for c in self.0.chars() {
            match c {
                '\\' => f.write_str("\\\\")?,
                '"' => f.write_str("\\\"")?,
                '\n' => f.write_str("\\n")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_what_prometheus_reads() {
        static BOUNDS: [f64; 2] = [0.5, 2.0];
        let (counter, histogram) = (Counter::new(), Histogram::new(&BOUNDS));
        counter.add(3);
        for millis in [100, 500, 1500, 9000] {
            histogram.observe_duration(Duration::from_millis(millis));
        }
        let mut text = Exposition::default();
        text.counter("events_total", "Events.", counter.get());
        text.gauges("lag", "Lag.");
        text.sample("lag", &[("of", "a \"b\"\n\\"), ("to", "c")], 1.5);
        text.histograms("time_seconds", "Time.");
        text.histogram("time_seconds", &[("method", "x")], &histogram);
        let expected = r#"# HELP events_total Events.
# TYPE events_total counter
events_total 3
# HELP lag Lag.
# TYPE lag gauge
lag{of="a \"b\"\n\\",to="c"} 1.5
# HELP time_seconds Time.
# TYPE time_seconds histogram
time_seconds_bucket{method="x",le="0.5"} 2
time_seconds_bucket{method="x",le="2"} 3
time_seconds_bucket{method="x",le="+Inf"} 4
time_seconds_sum{method="x"} 11.1
time_seconds_count{method="x"} 4
"#;
        assert_eq!(text.finish(), expected);
    }

    #[test]
    fn counts_are_observed_as_they_are() {
        static BOUNDS: [f64; 2] = [1.0, 8.0];
        let histogram = Histogram::new(&BOUNDS);
        for count in [1, 5, 100] {
            histogram.observe_count(count);
        }
        let mut text = Exposition::default();
        text.histogram("n", &[], &histogram);
        assert!(text.finish().ends_with("n_sum 106\nn_count 3\n"));
    }
}
