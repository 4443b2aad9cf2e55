//! The conformance cases, `tests/cases/<row>.yaml`, through the library, and a sample of them through the binary.
//! Knows nothing of what is in a case.

use std::path::{Path, PathBuf};

use crate::play::{self, Case, Doit, Runner};
use crate::process;

pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/cases")
}

/// All cases, by row.
pub fn all() -> Vec<Case> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder()).expect("the cases").flatten().map(|entry| entry.path()).collect();
    files.sort();
    files.iter().map(|file| Case::read(file)).collect()
}

fn section_holds(section: char) {
    let runner: Runner<'_> = &|space, call| space.call(&call.words, &call.cwd, &call.env);
    let cases: Vec<Case> = all().into_iter().filter(|case| case.row.starts_with(section)).collect();
    assert!(!cases.is_empty(), "no case begins with {section}");
    let problems: Vec<String> = cases.iter().flat_map(|case| play::play(case, runner)).collect();
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}

/// A test for each section of the contract, so that they run side by side.
macro_rules! sections {
    ($($name:ident: $letter:literal)*) => {
        $(
            #[test]
            fn $name() {
                section_holds($letter);
            }
        )*
    };
}

sections! {
    rows_a_file_inputs: 'A'
    rows_b_targets: 'B'
    rows_c_checks: 'C'
    rows_d_graph: 'D'
    rows_e_failures: 'E'
    rows_s_setup_and_teardown: 'S'
    rows_v_values: 'V'
    rows_h_expansion: 'H'
    rows_i_selection: 'I'
    rows_j_commands: 'J'
    rows_k_parallel: 'K'
    rows_l_output: 'L'
    rows_m_store: 'M'
    rows_n_definition: 'N'
    rows_w_watch: 'W'
}

#[test]
fn what_cannot_be_said_to_doit_has_a_reason() {
    let mute = |case: &Case| matches!(&case.doit, Doit::Differs(text) | Doit::None(text) if text.is_empty());
    assert!(!all().iter().any(mute));
}

#[test]
fn a_sample_holds_through_the_binary() {
    let runner: Runner<'_> = &|space, call| process::output(process::command(space, call));
    let sample =
        ["A03", "A11", "B12", "C18", "E06", "E15", "H01", "I08", "I10", "J01", "J12", "L02", "L04", "S06", "V04"];
    let cases: Vec<Case> = all().into_iter().filter(|case| sample.contains(&&*case.row)).collect();
    assert_eq!(cases.len(), sample.len());
    let problems: Vec<String> = cases.iter().flat_map(|case| play::play(case, runner)).collect();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
