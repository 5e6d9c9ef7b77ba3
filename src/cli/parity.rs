//! `bptt parity`: is this device right?

use std::process::ExitCode;

use super::on_device::{Job, on_device};
use crate::device::adapter::DeviceChoice;
use crate::error::{Error, Result};
use crate::parity::{OpReport, Report, Subject, check_all};

/// The flags of `bptt parity`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The device to check: auto, cpu, gpu, gpu:N or gpu:NAME
    #[arg(long, default_value_t)]
    device: DeviceChoice,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

/// Checks the device; exit code 1 if it is wrong anywhere.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let check = Check {
        json: arguments.json,
    };
    let report = on_device(&arguments.device, None, check)?;
    if arguments.json {
        let json = serde_json::to_string_pretty(&report).map_err(|e| Error::Device {
            device: report.adapter.clone(),
            message: format!("the report cannot be written as JSON: {e}"),
        })?;
        println!("{json}");
    } else {
        summarise(&report);
    }
    Ok(ExitCode::from(u8::from(!report.passed())))
}

struct Check {
    json: bool,
}

impl Job for Check {
    type Output = Report;

    fn run<O: Subject>(self, ops: &mut O) -> Result<Report> {
        if !self.json {
            println!(
                "{:<28} {:<22} {:>6} {:>9} {:>9} {:>9} {:>8}",
                "op", "kernel", "cases", "max abs", "max rel", "ULP 99.9%", "of bound"
            );
        }
        check_all(ops, |checked| {
            if !self.json {
                print_line(checked);
            }
        })
    }
}

fn print_line(report: &OpReport) {
    println!(
        "{:<28} {:<22} {:>6} {:>9.1e} {:>9.1e} {:>9} {:>7.1}% {}",
        report.op,
        report.variant,
        report.cases,
        report.max_abs,
        report.max_rel,
        report.ulp_p999,
        100.0 * report.worst,
        if report.passed() { "pass" } else { "FAIL" }
    );
    for failure in &report.failures {
        println!("    {failure}");
    }
    let more = report.failed - report.failures.len();
    if more > 0 {
        println!("    and {more} more");
    }
}

fn summarise(report: &Report) {
    let passed = report.ops.iter().filter(|op| op.passed()).count();
    let verdict = if report.passed() { "pass" } else { "FAIL" };
    println!(
        "{verdict}: {passed} of {} checks hold on {} (backend {}, driver {})",
        report.ops.len(),
        report.adapter,
        report.backend,
        report.driver
    );
}
