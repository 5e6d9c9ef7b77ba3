//! Weights that were trained elsewhere: safetensors files without a manifest.

use std::fs;

use bptt::inspect::Report;
use bptt::interchange::pytorch;
use bptt::{Error, Result};

use crate::{Tally, small};

/// The small model, as PyTorch would have saved it.
fn sound() -> Vec<u8> {
    fs::read(small().checkpoint.join("model.safetensors")).unwrap()
}

/// A file of this header and so many bytes of data.
fn file(header: &str, data: usize) -> Vec<u8> {
    let length = (header.len() as u64).to_le_bytes();
    [&length, header.as_bytes(), &vec![0; data]].concat()
}

fn import(bytes: &[u8]) -> Result<pytorch::Imported> {
    pytorch::read(bytes, &[], 1).map_err(|what| Error::Import {
        path: "model.safetensors".into(),
        what,
    })
}

/// Of the weights themselves any number may be meant: only the header is broken here.
#[test]
fn a_broken_header_is_refused_or_says_the_same() {
    let sound = sound();
    let length = 8 + u64::from_le_bytes(*sound.first_chunk().unwrap()) as usize;
    let (header, data) = sound.split_at(length);
    let weights = import(&sound).unwrap().weights;
    let tally = Tally::of(header, "model.safetensors", |header| {
        let imported = import(&[header, data].concat())?;
        Ok(imported.weights == weights)
    });
    // None: not even the padding may be anything else.
    assert_eq!(tally.harmless, 0);
}

#[test]
fn weights_that_are_cut_off_are_refused() {
    let sound = sound();
    for len in 0..sound.len() {
        let error = import(&sound[..len]).unwrap_err().to_string();
        assert!(error.contains("model.safetensors"), "{error}");
    }
    let longer = [&sound[..], &[0]].concat();
    assert!(import(&longer).is_err());
}

/// Turned over, a weight is another weight, or is named for not being a number.
#[test]
fn a_broken_weight_is_a_number_or_is_named() {
    let sound = sound();
    let begin = 8 + u64::from_le_bytes(*sound.first_chunk().unwrap()) as usize;
    for at in begin..sound.len() {
        for mask in [1u8, 0x40, 0x80, 0xff] {
            let mut broken = sound.clone();
            broken[at] ^= mask;
            match import(&broken) {
                Ok(imported) => assert!(imported.weights.are_finite()),
                Err(error) => assert!(error.to_string().contains(": element "), "{error}"),
            }
        }
    }
}

/// A tensor of the header: its name, and the rest.
fn entry(name: &str, dtype: &str, shape: &str, offsets: &str) -> String {
    format!(r#""{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}"#)
}

#[test]
fn lies_in_a_header_are_named() {
    let f32 = |shape: &str, offsets: &str| {
        format!("{{{}}}", entry("encoder.weight", "F32", shape, offsets))
    };
    let two = |a: [&str; 3], b: [&str; 3]| {
        let entries = [a, b].map(|[name, shape, offsets]| entry(name, "F32", shape, offsets));
        format!("{{{}}}", entries.join(","))
    };
    let max = "18446744073709551615";
    // Eight tensors of almost 2^61 bytes each: their sum, and 8 bytes more, is beyond 64 bits.
    let large = (1u64 << 61) - 1;
    let tensors: Vec<_> = (0..8)
        .map(|i| {
            let offsets = format!("[{}, {}]", i * large, (i + 1) * large);
            entry(&format!("t{i}"), "U8", &format!("[{large}]"), &offsets)
        })
        .collect();
    let overflowing = format!("{{{}}}", tensors.join(","));
    let deep = format!("{{\"a\":{}", "[".repeat(100_000));
    let deep_shape = f32(
        &format!("{}0{}", "[".repeat(100_000), "]".repeat(100_000)),
        "[0,0]",
    );
    let dimensions = f32(&format!("[{}1]", "1,".repeat(100_000)), "[0,4]");
    for (header, data, hint) in [
        (
            f32("[2,2]", "[0,16]"),
            12,
            "encoder.weight: data_offsets [0, 16] are not in the 12 bytes",
        ),
        (
            f32("[2,2]", "[0,12]"),
            12,
            "encoder.weight: shape [2, 2] of F32 does not take 12 bytes",
        ),
        (
            f32("[2,2]", "[16,0]"),
            16,
            "encoder.weight: data_offsets [16, 0] are not in",
        ),
        (
            f32("[2,2]", &format!("[0,{max}]")),
            16,
            "data_offsets [0, 18446744073709551615] are not",
        ),
        (
            f32("[2,2]", "[0,9223372036854775808]"),
            16,
            "encoder.weight: data_offsets",
        ),
        (
            f32("[2,2]", "[0,18446744073709551616]"),
            16,
            "encoder.weight: invalid type",
        ),
        (
            f32("[2,2]", "[-1,16]"),
            16,
            "encoder.weight: invalid value: integer `-1`, expected usize",
        ),
        (
            f32("[9223372036854775808]", "[0,0]"),
            0,
            "encoder.weight: shape [9223372036854775808]",
        ),
        (
            f32("[9223372036854775808,2]", "[0,0]"),
            0,
            "does not take 0 bytes",
        ),
        // No bytes, and still 2^62 tokens.
        (
            two(
                ["encoder.weight", "[4611686018427387904,0]", "[0,0]"],
                ["decoder.weight", "[4611686018427387904,0]", "[0,0]"],
            ),
            0,
            "is missing",
        ),
        (
            two(
                ["encoder.weight", "[1]", "[0,4]"],
                ["decoder.weight", "[1]", "[0,4]"],
            ),
            4,
            "invalid offset for tensor",
        ),
        (
            two(
                ["encoder.weight", "[2]", "[0,8]"],
                ["decoder.weight", "[2]", "[4,12]"],
            ),
            12,
            "invalid offset for tensor",
        ),
        (
            two(
                ["encoder.weight", "[1]", "[0,4]"],
                ["decoder.weight", "[1]", "[8,12]"],
            ),
            12,
            "invalid offset for tensor",
        ),
        (
            two(
                ["decoder.bias", "[1]", "[0,4]"],
                ["decoder.bias", "[1]", "[0,4]"],
            ),
            4,
            "\"decoder.bias\" is there twice",
        ),
        (
            two(
                ["decoder.bias", "[1]", "[0,4]"],
                ["decoder.\\u0062ias", "[1]", "[4,8]"],
            ),
            8,
            "\"decoder.bias\" is there twice",
        ),
        (
            f32("[1],\"shape\":[1]", "[0,4]"),
            4,
            "encoder.weight: duplicate field `shape`",
        ),
        (f32("{}", "[0,4]"), 4, "encoder.weight: invalid type: map"),
        (f32("[1.5]", "[0,4]"), 4, "invalid type: floating point"),
        (f32("[1]", "[0]"), 4, "encoder.weight: invalid length 1"),
        (
            format!("{{{}}}", entry("encoder.weight", "F31", "[1]", "[0,4]")),
            4,
            "encoder.weight: unknown variant `F31`",
        ),
        (
            format!("{{{}}}", entry("encoder.weight", "F4", "[3]", "[0,1]")),
            1,
            "encoder.weight: shape [3] of F4",
        ),
        ("{}".to_owned(), 0, "encoder.weight is missing"),
        ("{}".to_owned(), 9, "not as safetensors are"),
        ("[]".to_owned(), 0, "the header: invalid type: sequence"),
        (String::new(), 0, "the header: EOF"),
        (
            "{\"\u{1b}[2J\":1}".to_owned(),
            0,
            "the header: control character",
        ),
        (
            r#"{"__metadata__":[1,2]}"#.to_owned(),
            0,
            "not as safetensors are",
        ),
        (overflowing, 0, "t0: data_offsets"),
        (deep, 0, "the header: EOF"),
        (deep_shape, 0, "encoder.weight: "),
        (dimensions, 4, "encoder.weight: shape has 100001 dimensions"),
    ] {
        let bytes = file(&header, data);
        let error = import(&bytes).unwrap_err().to_string();
        let header = &header[..header.len().min(200)];
        assert!(error.contains(hint), "{header}: {error}");
        assert!(error.len() < 600, "{header}: {error}");
    }
    for (length, hint) in [
        (
            1u64 << 63,
            "length is given as 9223372036854775808 bytes, but 3 are behind it",
        ),
        (u64::MAX, "length is given as 18446744073709551615 bytes"),
        (4, "length is given as 4 bytes, but 3"),
        (2, "the header: EOF"),
    ] {
        let bytes = [&length.to_le_bytes()[..], b"{  "].concat();
        let error = import(&bytes).unwrap_err().to_string();
        assert!(error.contains(hint), "{error}");
    }
}

/// All sizes agree, but no model has them: neither overflow nor 2^62 zeros for a bias.
#[test]
fn sizes_that_no_model_has_are_refused() {
    let model = |v: u64, d: u64, h: u64| {
        let entries = [
            entry("encoder.weight", "F32", &format!("[{v},{d}]"), "[0,0]"),
            entry("rnn.weight_ih_l0", "F32", &format!("[{h},{d}]"), "[0,0]"),
            entry("rnn.weight_hh_l0", "F32", &format!("[{h},{h}]"), "[0,0]"),
            entry("decoder.weight", "F32", &format!("[{v},{h}]"), "[0,0]"),
        ];
        file(&format!("{{{}}}", entries.join(",")), 0)
    };
    for (v, d, h, hint) in [
        (1 << 62, 0, 0, "emsize = 0"),
        (0, 0, 0, "emsize = 0"),
        (0, 4, 0, "nhid = 0"),
        (0, 1 << 62, 0, "emsize = 4611686018427387904"),
    ] {
        let error = import(&model(v, d, h)).unwrap_err().to_string();
        assert!(error.contains(hint), "{error}");
    }
    let wide = entry(
        "rnn.weight_hh_l0",
        "F32",
        "[0,9223372036854775807]",
        "[0,0]",
    );
    let others = [
        entry("encoder.weight", "F32", "[0,4]", "[0,0]"),
        entry("rnn.weight_ih_l0", "F32", "[0,4]", "[0,0]"),
        entry("decoder.weight", "F32", "[0,0]", "[0,0]"),
    ];
    let header = format!("{{{},{}}}", wide, others.join(","));
    let error = import(&file(&header, 0)).unwrap_err().to_string();
    assert!(error.contains("nhid = 9223372036854775807"), "{error}");
}

/// `bptt inspect` shows any file whose header is sound.
#[test]
fn a_broken_file_of_weights_is_described_or_refused() {
    let folder = crate::folder();
    let path = folder.path().join("weights");
    fs::write(&path, sound()).unwrap();
    let tensors = Report::of(&path).unwrap().tensors;
    let names = |tensors: &[bptt::inspect::Tensor]| {
        let name = |tensor: &bptt::inspect::Tensor| tensor.shape.clone();
        tensors.iter().map(name).collect::<Vec<_>>()
    };
    let shapes = names(&tensors);
    for (what, broken) in crate::mutations(&sound()) {
        fs::write(&path, broken).unwrap();
        match Report::of(&path) {
            Ok(report) => assert_eq!(report.tensors.len(), shapes.len(), "{what}"),
            Err(error) => assert!(error.to_string().contains("weights: "), "{what}: {error}"),
        }
    }
}
