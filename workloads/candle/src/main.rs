//! Two transformer layers in candle with random weights, run a few times; prints a sum of each result.

use candle_core::{D, DType, Device, Result, Tensor};

const LAYERS: usize = 2;
const TOKENS: usize = 48;
const WIDTH: usize = 128;
const HEADS: usize = 4;

/// Numbers that look random and are the same everywhere (a multiplicative congruential generator).
struct Numbers(u64);

impl Numbers {
    fn tensor(&mut self, rows: usize, columns: usize) -> Result<Tensor> {
        let scale = (rows as f32).sqrt().recip();
        let values: Vec<f32> = (0..rows * columns)
            .map(|_| {
                self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                ((self.0 >> 40) as f32 / (1 << 23) as f32 - 1.0) * scale
            })
            .collect();
        Tensor::from_vec(values, (rows, columns), &Device::Cpu)
    }
}

struct Layer {
    projections: [Tensor; 4],
    up: Tensor,
    down: Tensor,
}

impl Layer {
    fn new(numbers: &mut Numbers) -> Result<Self> {
        let mut square = || numbers.tensor(WIDTH, WIDTH);
        Ok(Self {
            projections: [square()?, square()?, square()?, square()?],
            up: numbers.tensor(WIDTH, 4 * WIDTH)?,
            down: numbers.tensor(4 * WIDTH, WIDTH)?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let [query, key, value, output] = &self.projections;
        let split = |weights: &Tensor| {
            x.matmul(weights)?
                .reshape((TOKENS, HEADS, WIDTH / HEADS))?
                .transpose(0, 1)?
                .contiguous()
        };
        let scores = split(query)?.matmul(&split(key)?.t()?)? * ((WIDTH / HEADS) as f64).powf(-0.5);
        let mixed = candle_nn::ops::softmax(&scores?, D::Minus1)?.matmul(&split(value)?)?;
        let x = (x + mixed.transpose(0, 1)?.reshape((TOKENS, WIDTH))?.matmul(output)?)?;
        &x + x.matmul(&self.up)?.gelu_erf()?.matmul(&self.down)?
    }
}

fn main() -> Result<()> {
    let mut numbers = Numbers(1);
    let layers = (0..LAYERS)
        .map(|_| Layer::new(&mut numbers))
        .collect::<Result<Vec<_>>>()?;
    for _ in 0..3 {
        let mut x = numbers.tensor(TOKENS, WIDTH)?;
        for layer in &layers {
            x = layer.forward(&x)?;
        }
        println!(
            "{:?} {:.4}",
            x.dims(),
            x.abs()?.to_dtype(DType::F64)?.sum_all()?.to_scalar::<f64>()?
        );
    }
    Ok(())
}
