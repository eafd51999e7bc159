//! Floating-point operations of an instruction: additions, subtractions, multiplications, divisions and square roots,
//! each lane counted; a fused multiply-add counts two. Estimates, conversions and comparisons count none. Masked-out
//! lanes are counted: the mask is not known here.

use iced_x86::{Instruction, Mnemonic, Register};

/// How many lanes an instruction computes on.
fn lanes(instruction: &Instruction, element_bytes: usize) -> u32 {
    let destination: Register = instruction.op0_register();
    (destination.size().max(element_bytes) / element_bytes) as u32
}

/// Operations of one execution.
pub(super) fn of(instruction: &Instruction) -> u32 {
    use Mnemonic::*;
    match instruction.mnemonic() {
        Addps | Subps | Mulps | Divps | Sqrtps | Addsubps | Haddps | Hsubps | Vaddps | Vsubps | Vmulps
        | Vdivps | Vsqrtps | Vaddsubps | Vhaddps | Vhsubps => lanes(instruction, 4),
        Addpd | Subpd | Mulpd | Divpd | Sqrtpd | Addsubpd | Haddpd | Hsubpd | Vaddpd | Vsubpd | Vmulpd
        | Vdivpd | Vsqrtpd | Vaddsubpd | Vhaddpd | Vhsubpd => lanes(instruction, 8),
        Vaddph | Vsubph | Vmulph | Vdivph | Vsqrtph => lanes(instruction, 2),
        Addss | Subss | Mulss | Divss | Sqrtss | Addsd | Subsd | Mulsd | Divsd | Sqrtsd | Vaddss | Vsubss
        | Vmulss | Vdivss | Vsqrtss | Vaddsd | Vsubsd | Vmulsd | Vdivsd | Vsqrtsd | Vaddsh | Vsubsh
        | Vmulsh | Vdivsh | Vsqrtsh => 1,
        Fadd | Faddp | Fiadd | Fsub | Fsubp | Fsubr | Fsubrp | Fisub | Fisubr | Fmul | Fmulp | Fimul
        | Fdiv | Fdivp | Fdivr | Fdivrp | Fidiv | Fidivr | Fsqrt => 1,
        Vfmadd132ps | Vfmadd213ps | Vfmadd231ps | Vfmsub132ps | Vfmsub213ps | Vfmsub231ps | Vfnmadd132ps
        | Vfnmadd213ps | Vfnmadd231ps | Vfnmsub132ps | Vfnmsub213ps | Vfnmsub231ps | Vfmaddsub132ps
        | Vfmaddsub213ps | Vfmaddsub231ps | Vfmsubadd132ps | Vfmsubadd213ps | Vfmsubadd231ps => {
            2 * lanes(instruction, 4)
        }
        Vfmadd132pd | Vfmadd213pd | Vfmadd231pd | Vfmsub132pd | Vfmsub213pd | Vfmsub231pd | Vfnmadd132pd
        | Vfnmadd213pd | Vfnmadd231pd | Vfnmsub132pd | Vfnmsub213pd | Vfnmsub231pd | Vfmaddsub132pd
        | Vfmaddsub213pd | Vfmaddsub231pd | Vfmsubadd132pd | Vfmsubadd213pd | Vfmsubadd231pd => {
            2 * lanes(instruction, 8)
        }
        Vfmadd132ph | Vfmadd213ph | Vfmadd231ph | Vfmsub132ph | Vfmsub213ph | Vfmsub231ph | Vfnmadd132ph
        | Vfnmadd213ph | Vfnmadd231ph | Vfnmsub132ph | Vfnmsub213ph | Vfnmsub231ph => {
            2 * lanes(instruction, 2)
        }
        Vfmadd132ss | Vfmadd213ss | Vfmadd231ss | Vfmsub132ss | Vfmsub213ss | Vfmsub231ss | Vfnmadd132ss
        | Vfnmadd213ss | Vfnmadd231ss | Vfnmsub132ss | Vfnmsub213ss | Vfnmsub231ss | Vfmadd132sd
        | Vfmadd213sd | Vfmadd231sd | Vfmsub132sd | Vfmsub213sd | Vfmsub231sd | Vfnmadd132sd
        | Vfnmadd213sd | Vfnmadd231sd | Vfnmsub132sd | Vfnmsub213sd | Vfnmsub231sd | Vfmadd132sh
        | Vfmadd213sh | Vfmadd231sh => 2,
        // Two products of bfloat16 pairs are added to each 32-bit lane.
        Vdpbf16ps => 4 * lanes(instruction, 4),
        _ => 0,
    }
}
