//! The last frames that one end of a link has sent and received, and the file they are saved in.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Frames kept of each end.
const FRAMES_MAX: usize = 50_000;

/// The magic number of pcap files with times in microseconds.
const PCAP_MAGIC: u32 = 0xA1B2_C3D4;
const PCAP_VERSION: [u16; 2] = [2, 4];
const PCAP_FRAME_BYTES_MAX: u32 = 65_535;
const PCAP_ETHERNET: u32 = 1;

#[derive(Debug, Default)]
pub(super) struct Capture(Mutex<VecDeque<(Duration, Arc<[u8]>)>>);

impl Capture {
    pub(super) fn record(&self, frame: &Arc<[u8]>) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut frames = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if frames.len() == FRAMES_MAX {
            frames.pop_front();
        }
        frames.push_back((now, Arc::clone(frame)));
    }

    /// The last frame that `wanted` takes.
    pub(super) fn last(&self, wanted: impl Fn(&[u8]) -> bool) -> Option<Arc<[u8]>> {
        let frames = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        frames.iter().rev().map(|(_, frame)| frame).find(|frame| wanted(frame)).map(Arc::clone)
    }

    /// In the pcap format.
    pub(super) fn save(&self, path: &Path) -> io::Result<()> {
        let frames = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut file = BufWriter::new(File::create(path)?);
        file.write_all(&PCAP_MAGIC.to_ne_bytes())?;
        for number in PCAP_VERSION {
            file.write_all(&number.to_ne_bytes())?;
        }
        // Time zone and accuracy, never used.
        for number in [0, 0, PCAP_FRAME_BYTES_MAX, PCAP_ETHERNET] {
            file.write_all(&number.to_ne_bytes())?;
        }
        for (time, frame) in &*frames {
            let length = frame.len() as u32;
            for number in [time.as_secs() as u32, time.subsec_micros(), length, length] {
                file.write_all(&number.to_ne_bytes())?;
            }
            file.write_all(frame)?;
        }
        file.flush()
    }
}
