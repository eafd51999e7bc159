//! Writes small GGUF files for tests.

/// A tensor to write: name, dimensions, type number, bytes.
pub(crate) type TensorSpec<'a> = (&'a str, &'a [u64], u32, u64);

pub(crate) fn text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

/// A complete file, with one metadata value of each kind. Returns it and the offset of its data.
pub(crate) fn write(alignment: u32, tensors: &[TensorSpec<'_>]) -> (Vec<u8>, u64) {
    let mut out = Vec::new();
    out.extend(b"GGUF");
    out.extend(3u32.to_le_bytes());
    out.extend((tensors.len() as u64).to_le_bytes());
    out.extend(5u64.to_le_bytes());
    text(&mut out, "general.architecture");
    out.extend(8u32.to_le_bytes());
    text(&mut out, "llama");
    text(&mut out, "general.alignment");
    out.extend(4u32.to_le_bytes());
    out.extend(alignment.to_le_bytes());
    text(&mut out, "tokenizer.ggml.tokens");
    out.extend(9u32.to_le_bytes());
    out.extend(8u32.to_le_bytes());
    out.extend(2u64.to_le_bytes());
    text(&mut out, "<s>");
    text(&mut out, "</s>");
    text(&mut out, "tokenizer.ggml.scores");
    out.extend(9u32.to_le_bytes());
    out.extend(6u32.to_le_bytes());
    out.extend(3u64.to_le_bytes());
    out.extend([0; 12]);
    text(&mut out, "general.flag");
    out.extend(7u32.to_le_bytes());
    out.push(1);
    let mut offset = 0u64;
    for (name, dimensions, number, bytes) in tensors {
        text(&mut out, name);
        out.extend((dimensions.len() as u32).to_le_bytes());
        dimensions
            .iter()
            .for_each(|count| out.extend(count.to_le_bytes()));
        out.extend(number.to_le_bytes());
        out.extend(offset.to_le_bytes());
        offset += bytes.next_multiple_of(u64::from(alignment));
    }
    let data = (out.len() as u64).next_multiple_of(u64::from(alignment));
    out.resize((data + offset) as usize, 0xab);
    (out, data)
}
