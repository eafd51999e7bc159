//! `--join FILE[@NS]`: operators by a framework's own profile, a Chrome trace such as ONNX Runtime and PyTorch write, by time.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::SystemTime;

use memloupe_attribute::{Operator, Span};
use serde::{Deserialize, Serialize};

/// What the kinds of these operators end with.
pub const MARK: &str = " (by time)";

/// `FILE`, or `FILE@NS`: the time of the trace's zero, in nanoseconds of Unix time, if the file does not tell it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Join {
    /// The trace.
    pub file: PathBuf,
    zero_ns: Option<i64>,
}

impl FromStr for Join {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (file, zero) = match text.rsplit_once('@') {
            Some((file, zero)) if zero.parse::<i64>().is_ok() => (file, zero.parse().ok()),
            _ => (text, None),
        };
        if file.is_empty() {
            return Err(format!("`{text}`: FILE or FILE@NANOSECONDS is needed"));
        }
        Ok(Self {
            file: file.into(),
            zero_ns: zero,
        })
    }
}

/// One moment by two clocks: the stream's and the system's.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Moment {
    clock: u64,
    unix_ns: i64,
}

impl Moment {
    /// Now.
    #[must_use]
    pub fn now() -> Self {
        let unix = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            clock: memloupe_stream::clock(),
            unix_ns: i64::try_from(unix.as_nanos()).unwrap_or(i64::MAX),
        }
    }

    /// The stream's clock at a time, on the line through two moments.
    fn clock_at(first: Self, last: Self, unix_ns: f64) -> u64 {
        let ticks = last.clock.wrapping_sub(first.clock) as f64;
        let rate = ticks / (last.unix_ns - first.unix_ns).max(1) as f64;
        let clock = first.clock as f64 + (unix_ns - first.unix_ns as f64) * rate;
        clock as u64
    }
}

/// The format's two shapes: the events alone, or with what else there is to say.
#[derive(Deserialize)]
#[serde(untagged)]
enum Trace {
    Events(Vec<TraceEvent>),
    #[serde(rename_all = "camelCase")]
    Object {
        trace_events: Vec<TraceEvent>,
        base_time_nanoseconds: Option<i64>,
    },
}

#[derive(Deserialize)]
struct TraceEvent {
    #[serde(default)]
    name: String,
    /// None in PyTorch 1's traces, which hold operators only.
    cat: Option<String>,
    #[serde(default)]
    ph: String,
    /// Microseconds.
    ts: Option<f64>,
    dur: Option<f64>,
    #[serde(default)]
    args: Arguments,
}

#[derive(Default, Deserialize)]
struct Arguments {
    op_name: Option<String>,
}

impl TraceEvent {
    /// ONNX Runtime's nodes and PyTorch's operators.
    fn operator(&self) -> Option<Operator> {
        let (kind, name) = match self.cat.as_deref() {
            Some("Node") => (
                self.args.op_name.as_deref()?,
                self.name.strip_suffix("_kernel_time")?,
            ),
            Some("cpu_op") | None => (self.name.as_str(), ""),
            Some(_) => return None,
        };
        (self.ph == "X").then(|| Operator {
            kind: format!("{kind}{MARK}"),
            name: name.to_owned(),
            ..Operator::default()
        })
    }
}

impl Join {
    /// The operators of the trace, by the stream's clock, which was seen at these moments.
    ///
    /// # Errors
    /// A line that says what is wrong with the file.
    pub fn spans(&self, [first, last]: [Moment; 2]) -> Result<Vec<Span>, String> {
        let named = |what: &dyn std::fmt::Display| format!("--join {}: {what}", self.file.display());
        let text = std::fs::read(&self.file).map_err(|error| named(&error))?;
        let trace = serde_json::from_slice(&text)
            .map_err(|error| named(&format!("it is no Chrome trace: {error}")))?;
        let (events, told) = match trace {
            Trace::Events(events) => (events, None),
            Trace::Object {
                trace_events,
                base_time_nanoseconds,
            } => (trace_events, base_time_nanoseconds),
        };
        let zero = self.zero_ns.or(told).ok_or_else(|| {
            named(
                &"it does not tell when its zero was: add @NANOSECONDS of Unix time (ONNX Runtime: \
                  session.get_profiling_start_time_ns())",
            )
        })?;
        let clock = |microseconds: f64| Moment::clock_at(first, last, zero as f64 + microseconds * 1000.0);
        let span = |event: &TraceEvent| {
            let (begin, length) = (event.ts?, event.dur?);
            Some(Span {
                begin: clock(begin),
                end: clock(begin + length),
                operator: event.operator()?,
            })
        };
        let spans: Vec<Span> = events.iter().filter_map(span).collect();
        let during = |span: &&Span| span.begin >= first.clock && span.end <= last.clock;
        match (spans.len(), spans.iter().filter(during).count()) {
            (0, _) => Err(named(&"it holds no operators of ONNX Runtime or PyTorch")),
            (_, 0) => Err(named(
                &"none of its operators ran during the recording: it is another run's, or its zero is wrong",
            )),
            _ => Ok(spans),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOMENTS: [Moment; 2] = [
        Moment {
            clock: 1_000_000,
            unix_ns: 5_000_000,
        },
        Moment {
            clock: 5_000_000,
            unix_ns: 7_000_000,
        },
    ];

    fn spans(text: &str, zero: &str) -> Result<Vec<Span>, String> {
        let folder = tempfile::tempdir().expect("temporary folder");
        let file = folder.path().join("trace.json");
        std::fs::write(&file, text).expect("write");
        let join: Join = format!("{}{zero}", file.display()).parse().expect("a file");
        join.spans(MOMENTS)
    }

    #[test]
    fn both_frameworks_traces_are_read() {
        let node = r#"[{"cat":"Session","ph":"X","name":"model_run","ts":0,"dur":900},
            {"cat":"Node","ph":"X","name":"/up/MatMul_kernel_time","ts":100,"dur":50,"args":{"op_name":"Gemm"}}]"#;
        let found = spans(node, "@6000000").expect("a node");
        let expected = |kind: &str, name: &str| Span {
            begin: 3_200_000,
            end: 3_300_000,
            operator: Operator {
                kind: kind.to_owned(),
                name: name.to_owned(),
                ..Operator::default()
            },
        };
        assert_eq!(found, [expected("Gemm (by time)", "/up/MatMul")]);
        let operator = r#"{"baseTimeNanoseconds":6000000,"traceEvents":[{"cat":"cpu_op","ph":"X","name":"aten::mm","ts":100.0,"dur":50.0},
            {"cat":"python_function","ph":"X","name":"f","ts":0,"dur":1},{"ph":"M","name":"process_name"}]}"#;
        assert_eq!(
            spans(operator, "").expect("an operator"),
            [expected("aten::mm (by time)", "")]
        );
        let error = spans(node, "").unwrap_err();
        assert!(error.contains("get_profiling_start_time_ns"), "{error}");
        let error = spans(node, "@99000000").unwrap_err();
        assert!(error.contains("another run"), "{error}");
        let error = spans("[]", "@0").unwrap_err();
        assert!(error.contains("no operators"), "{error}");
        let error = spans("{}", "@0").unwrap_err();
        assert!(error.contains("no Chrome trace"), "{error}");
    }
}
