/* Floating-point operations of VEX primitives: additions, subtractions, multiplications, divisions and square roots,
 * each lane counted; a fused multiply-add counts two. Estimates (rcpps, rsqrtps), conversions, comparisons count none.
 * VEX splits vector FMA instructions and x87 into the scalar operations listed here.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "memloupe_tool.h"

#define OPERATION(name, flops) [Iop_##name - Iop_INVALID] = flops
#define ARITHMETIC(lanes_type, flops) \
    OPERATION(Add##lanes_type, flops), OPERATION(Sub##lanes_type, flops), OPERATION(Mul##lanes_type, flops), \
        OPERATION(Div##lanes_type, flops)
#define WITH_SQRT(lanes_type, flops) ARITHMETIC(lanes_type, flops), OPERATION(Sqrt##lanes_type, flops)

static const UChar flops[Iop_LAST - Iop_INVALID] = {
    WITH_SQRT(F32, 1),    WITH_SQRT(F64, 1),                              /* scalar, x87 */
    WITH_SQRT(32F0x4, 1), WITH_SQRT(64F0x2, 1),                           /* SSE scalar: lane 0 */
    WITH_SQRT(32Fx4, 4),  WITH_SQRT(64Fx2, 2),                            /* SSE, AVX-128 */
    WITH_SQRT(32Fx8, 8),  WITH_SQRT(64Fx4, 4),                            /* AVX-256 */
    OPERATION(MAddF32, 2), OPERATION(MSubF32, 2), OPERATION(MAddF64, 2), OPERATION(MSubF64, 2),
};

UInt flops_of(const IRExpr *expression)
{
    switch (expression->tag) {
    case Iex_Unop:
        return flops[expression->Iex.Unop.op - Iop_INVALID];
    case Iex_Binop:
        return flops[expression->Iex.Binop.op - Iop_INVALID];
    case Iex_Triop:
        return flops[expression->Iex.Triop.details->op - Iop_INVALID];
    case Iex_Qop:
        return flops[expression->Iex.Qop.details->op - Iop_INVALID];
    default:
        return 0;
    }
}
