//! Writes the seeds of all targets below `corpus/`, where cargo-fuzz looks for them.

use std::{fs, io};

fn main() -> io::Result<()> {
    for target in atproto_fuzz::TARGETS {
        let folder = format!("{}/corpus/{}", env!("CARGO_MANIFEST_DIR"), target.name);
        fs::create_dir_all(&folder)?;
        for (number, seed) in (target.seeds)().into_iter().enumerate() {
            fs::write(format!("{folder}/seed-{number}"), seed)?;
        }
    }
    Ok(())
}
