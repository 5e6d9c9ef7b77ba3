//! A run's log as TensorBoard reads it: files of records, each an `Event` in the terms of
//! TensorFlow's `event.proto`.
//!
//! A record is its length (u64), the masked CRC-32C of that, the event, and the masked CRC-32C of
//! it, all little-endian.

use std::fs::File;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use super::protobuf::Message;
use crate::checkpoint::growing::Growing;
use crate::error::{Error, Result};
use crate::train::Event;

/// How the names of event files begin; the time in seconds follows, by which TensorBoard sorts.
const PREFIX: &str = "events.out.tfevents.";
/// The largest number of as many digits as names have.
const LAST_SECOND: u64 = 9_999_999_999;
/// What the first event of a file says.
const VERSION: &str = "brain.Event:2";

/// Fields of `Event`.
const WALL_TIME: u64 = 1;
const STEP: u64 = 2;
const FILE_VERSION: u64 = 3;
const SUMMARY: u64 = 5;
const SESSION_LOG: u64 = 7;

/// An event file of a run, which grows while it trains.
#[derive(Debug)]
pub struct EventFile(Growing);

impl EventFile {
    /// A new file in the folder `run`, to be read after those that are there.
    ///
    /// # Errors
    /// [`Error::Write`] with what the operating system said.
    pub fn create(run: &Path) -> Result<Self> {
        let path = run.join(next_name(run)?);
        let file = File::options().create_new(true).append(true).open(&path);
        let file = file.map_err(Error::write(&path))?;
        let mut events = EventFile(Growing::new(path, file)?);
        // What cannot be written waits, and the next write reports it.
        let _ = events.write(event(0).string(FILE_VERSION, VERSION));
        Ok(events)
    }

    /// Takes back what earlier files hold of `step` and later ones.
    ///
    /// # Errors
    /// [`Error::Write`] with what the operating system said.
    pub fn restart_at(&mut self, step: u64) -> Result<()> {
        // SessionLog.status = START: readers drop everything from this step on.
        let start = Message::new().int(1, 1);
        self.write(event(step).message(SESSION_LOG, start))
    }

    /// Appends the numbers of an event of the log.
    ///
    /// # Errors
    /// [`Error::Write`] with what the operating system said: the numbers wait for the next time.
    pub fn log(&mut self, logged: &Event) -> Result<()> {
        // Summary.value = { tag = 1, simple_value = 2 }.
        let value = |(tag, value): (&str, f64)| {
            let value = Message::new().string(1, tag).float(2, value as f32);
            Message::new().message(1, value)
        };
        let values = scalars(logged).into_iter().map(value);
        self.write(event(logged.step()).messages(SUMMARY, values))
    }

    fn write(&mut self, event: Message) -> Result<()> {
        self.0.append(&record(&event.into_bytes()))
    }

    /// Writes what waits.
    ///
    /// # Errors
    /// As [`EventFile::log`].
    pub(crate) fn flush(&mut self) -> Result<()> {
        self.0.flush()
    }
}

/// An event of this moment.
fn event(step: u64) -> Message {
    let time = since_1970().as_secs_f64();
    Message::new()
        .double(WALL_TIME, time)
        .int(STEP, step as i64)
}

/// The numbers of an event, by the names that they have in TensorBoard.
fn scalars(event: &Event) -> Vec<(&'static str, f64)> {
    match *event {
        Event::Steps {
            loss,
            lr,
            gradient_norm,
            tokens_per_second,
            ..
        } => {
            let mut scalars = vec![
                ("loss/train", loss),
                ("learning_rate", lr),
                ("tokens_per_second", tokens_per_second),
            ];
            scalars.extend(gradient_norm.map(|norm| ("gradient_norm", norm)));
            scalars
        }
        Event::Evaluation { valid_loss, .. } => vec![("loss/validation", valid_loss)],
        Event::Rollback { lr_scale, .. } => vec![("learning_rate_scale", lr_scale)],
        Event::Epoch {
            loss, valid_loss, ..
        } => {
            let mut scalars = vec![("loss/epoch", loss)];
            scalars.extend(valid_loss.map(|loss| ("loss/validation", loss)));
            scalars
        }
    }
}

fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let mut record = Vec::with_capacity(data.len() + 16);
    record.extend(length);
    record.extend(masked_crc(&length).to_le_bytes());
    record.extend(data);
    record.extend(masked_crc(data).to_le_bytes());
    record
}

/// TensorFlow's mask (`core/lib/hash/crc32c.h`): checksums of data with checksums in it stay good.
fn masked_crc(data: &[u8]) -> u32 {
    crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// The CRC-32C (Castagnoli) of a few bytes, bit by bit (RFC 3720, appendix B.4).
fn crc32c(data: &[u8]) -> u32 {
    let bit = |crc: u32, _| (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
    let byte = |crc: u32, byte: &u8| (0..8).fold(crc ^ u32::from(*byte), bit);
    !data.iter().fold(!0, byte)
}

/// A name that sorts behind those that are there, also in the same second, or if the clock went
/// back.
fn next_name(run: &Path) -> Result<String> {
    let mut second = since_1970().as_secs();
    for entry in std::fs::read_dir(run).map_err(Error::read(run))? {
        let name = entry.map_err(Error::read(run))?.file_name();
        let time = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        let time = time.and_then(|rest| rest.split('.').next()?.parse::<u64>().ok());
        // A name that is not of a time that comes has no say.
        let time = time.filter(|time| *time < LAST_SECOND);
        second = second.max(time.map_or(0, |time| time + 1));
    }
    Ok(format!("{PREFIX}{second:010}.bptt"))
}

fn since_1970() -> std::time::Duration {
    // A clock before 1970 is no reason not to train.
    let time = SystemTime::now().duration_since(UNIX_EPOCH);
    time.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_castagnolis() {
        // RFC 3720, appendix B.4, and the check value of the catalogue of CRCs.
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        let ascending: Vec<u8> = (0..32).collect();
        assert_eq!(crc32c(&ascending), 0x46dd_794e);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn a_record_is_framed_as_tensorflow_frames_it() {
        let record = record(b"123456789");
        assert_eq!(record[..8], 9u64.to_le_bytes());
        assert_eq!(record[12..21], *b"123456789");
        // 0xe3069283 rotated right by 15 is 0x2507c60d.
        let masked = 0x2507_c60du32.wrapping_add(0xa282_ead8);
        assert_eq!(record[21..], masked.to_le_bytes());
        assert_eq!(record[8..12], masked_crc(&record[..8]).to_le_bytes());
        assert_eq!(record.len(), 9 + 16);
    }

    #[test]
    fn a_new_file_sorts_behind_the_ones_before() {
        let run = tempfile::tempdir().unwrap();
        let name = |_| EventFile::create(run.path()).unwrap().0.path().to_owned();
        let names: Vec<_> = (0..3).map(name).collect();
        assert!(names.is_sorted() && names[0] != names[1]);
        std::fs::write(run.path().join(format!("{PREFIX}9999999990.other")), "").unwrap();
        let last = EventFile::create(run.path()).unwrap();
        assert!(last.0.path().ends_with(format!("{PREFIX}9999999991.bptt")));
    }
}
