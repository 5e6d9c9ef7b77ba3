//! `bptt parity`: is this device right?

use std::process::ExitCode;

use super::on_device::{Job, Place, on_device};
use super::terminal::{print, print_json};
use crate::error::Result;
use crate::parity::{OpReport, Report, Subject, check_all};

/// The flags of `bptt parity`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    place: Place,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

/// Checks the device; exit code 1 if it is wrong anywhere.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let check = Check {
        json: arguments.json,
    };
    let report = on_device(&arguments.place, None, check)?;
    if arguments.json {
        print_json(&report)?;
    } else {
        print(&summary(&report))?;
    }
    Ok(ExitCode::from(u8::from(!report.passed())))
}

struct Check {
    json: bool,
}

impl Job for Check {
    type Output = Report;

    fn run<O: Subject>(&mut self, ops: &mut O) -> Result<Report> {
        let mut printed = if self.json { Ok(()) } else { print(HEADER) };
        let report = check_all(ops, |checked| {
            if !self.json && printed.is_ok() {
                printed = print(&lines(checked));
            }
        })?;
        printed.map(|()| report)
    }
}

/// The names of the columns.
const HEADER: &str = "\
op                           kernel                          cases   max abs   max rel ULP 99.9% of bound
";

/// A line for a report, and one for each failure that it describes.
fn lines(report: &OpReport) -> String {
    let mut text = format!(
        "{:<28} {:<30} {:>6} {:>9.1e} {:>9.1e} {:>9} {:>7.1}% {}\n",
        report.op,
        report.variant,
        report.cases,
        report.max_abs,
        report.max_rel,
        report.ulp_p999,
        100.0 * report.worst,
        verdict(report.passed())
    );
    for failure in &report.failures {
        text += &format!("    {failure}\n");
    }
    let more = report.failed - report.failures.len();
    if more > 0 {
        text += &format!("    and {more} more\n");
    }
    text
}

fn verdict(passed: bool) -> &'static str {
    if passed { "pass" } else { "FAIL" }
}

fn summary(report: &Report) -> String {
    format!(
        "{}: {} of {} checks hold on {} (backend {}, driver {})\n",
        verdict(report.passed()),
        report.ops.iter().filter(|op| op.passed()).count(),
        report.ops.len(),
        report.adapter,
        report.backend,
        report.driver
    )
}
