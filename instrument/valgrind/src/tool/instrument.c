/* Instrumentation: recording code for one superblock, inline but for the rare cases.
 *
 * A block's record is written behind the cursor as its operands' addresses become known, and counts once the cursor is
 * moved past it at the block's end: a fault in between drops this record alone. Room is checked once, where a
 * superblock starts, when little is live in registers.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "memloupe_tool.h"

#define GENERAL_REGISTERS_BYTES (16 * sizeof(ULong))

/* The superblock under construction. */
static IRSB *out;
static IRExpr *cursor; /* NULL: to be loaded */

static IRExpr *word(ULong value)
{
    return IRExpr_Const(IRConst_U64(value));
}

static void append(IRStmt *statement)
{
    addStmtToIRSB(out, statement);
}

static IRExpr *assign(IRType type, IRExpr *value)
{
    IRTemp temp = newIRTemp(out->tyenv, type);
    append(IRStmt_WrTmp(temp, value));
    return IRExpr_RdTmp(temp);
}

static IRExpr *load(const void *address)
{
    return assign(Ity_I64, IRExpr_Load(Iend_LE, Ity_I64, word((Addr)address)));
}

static void store(IRExpr *address, IRExpr *value)
{
    append(IRStmt_Store(Iend_LE, address, value));
}

static IRExpr *plus(IRExpr *base, ULong offset)
{
    return offset == 0 ? base : assign(Ity_I64, IRExpr_Binop(Iop_Add64, base, word(offset)));
}

static IRDirty *call(Int registers, const HChar *name, void *function, IRExpr **arguments)
{
    return unsafeIRDirty_0_N(registers, name, VG_(fnptr_to_fnentry)(function), arguments);
}

static void call_if_above(IRExpr *limit, IRExpr *value, IRDirty *dirty)
{
    dirty->guard = assign(Ity_I1, IRExpr_Binop(Iop_CmpLT64U, limit, value));
    append(IRStmt_Dirty(dirty));
}

static void emit_room_check(void)
{
    call_if_above(load(&ring_limit), load(&stream->active_head),
                  call(0, "ring_refill", ring_refill, mkIRExprVec_0()));
    cursor = load(&stream->active_head);
}

static void emit_probe(const struct probe_site *site)
{
    IRDirty *dirty =
        call(0, "probe_enter", probe_enter, mkIRExprVec_2(word((Addr)site), IRExpr_GSPTR()));
    dirty->nFxState = 1;
    VG_(memset)(&dirty->fxState, 0, sizeof dirty->fxState);
    dirty->fxState[0].fx = Ifx_Read;
    dirty->fxState[0].offset = offsetof(VexGuestAMD64State, guest_RAX);
    dirty->fxState[0].size = GENERAL_REGISTERS_BYTES;
    append(IRStmt_Dirty(dirty));
    cursor = NULL;
}

static void emit_slot(const struct operand *operand)
{
    IRExpr *value;
    if (operand->guard != NULL)
        value = assign(Ity_I64, IRExpr_ITE(operand->guard, operand->address, word(ML_ABSENT)));
    else if (operand->root == IRTemp_INVALID)
        value = word(0);
    else
        value = IRExpr_RdTmp(operand->root);
    store(plus(cursor, (1 + operand->slot) * sizeof(ULong)), value);
}

static void emit_block_end(const struct block *block)
{
    if (block->id == SITE_NONE) {
        IRExpr *sum = plus(load(&stream->unobserved_instructions), block->instructions);
        store(word((Addr)&stream->unobserved_instructions), sum);
        return;
    }
    cursor = plus(cursor, (1 + block->slots) * sizeof(ULong));
    store(word((Addr)&stream->active_head), cursor);
}

static void emit_return_check(void)
{
    IRExpr *stack_pointer = assign(Ity_I64, IRExpr_Get(offsetof(VexGuestAMD64State, guest_RSP), Ity_I64));
    call_if_above(load(&probe_leave_above), stack_pointer,
                  call(0, "probe_return", probe_return, mkIRExprVec_1(stack_pointer)));
}

static void intern_blocks(const struct plan *plan)
{
    UInt bytes = 0;
    for (UInt i = 0; i < plan->block_count; i++) {
        struct block *block = &plan->blocks[i];
        bytes += (1 + block->slots) * sizeof(ULong);
        if (bytes <= RECORD_SLACK_BYTES)
            block->id = site_intern(block, &plan->operands[block->first_operand]);
    }
}

/* Valgrind's and our own code is not recorded; the markers in it can be probed. */
static IRSB *instrument_own(const IRSB *in, const struct probe_site *site)
{
    Bool told = False;
    out = deepCopyIRSBExceptStmts(in);
    for (Int i = 0; i < in->stmts_used; i++) {
        if (in->stmts[i]->tag == Ist_IMark && !told) {
            emit_probe(site);
            told = True;
        }
        append(in->stmts[i]);
    }
    return out;
}

IRSB *instrument(VgCallbackClosure *closure, IRSB *in, const VexGuestLayout *layout, const VexGuestExtents *extents,
                 const VexArchInfo *host, IRType guest_word, IRType host_word)
{
    if (!stream_live)
        return in;
    if (map_is_own(extents->base[0])) {
        const struct probe_site *site = probe_at(extents->base[0]);
        return site == NULL ? in : instrument_own(in, site);
    }
    Int i = 0;
    out = deepCopyIRSBExceptStmts(in);
    for (; i < in->stmts_used && in->stmts[i]->tag != Ist_IMark; i++)
        append(in->stmts[i]);

    const struct plan *plan = operand_plan(in, i);
    intern_blocks(plan);
    cursor = NULL;
    const struct block *block = plan->blocks, *blocks_end = block + plan->block_count;
    const struct operand *operand = plan->operands, *operands_end = operand + plan->operand_count;
    Bool inside = False;
    for (; i < in->stmts_used; i++) {
        IRStmt *statement = in->stmts[i];
        if (inside && i == block->end_statement) {
            emit_block_end(block++);
            inside = False;
        }
        if (statement->tag == Ist_IMark) {
            const struct probe_site *site = probe_at(statement->Ist.IMark.addr);
            if (site != NULL)
                emit_probe(site);
        }
        if (cursor == NULL)
            emit_room_check();
        if (block < blocks_end && i == block->first_statement) {
            inside = True;
            if (block->id != SITE_NONE)
                store(cursor, word((ULong)ML_RECORD_BLOCK << ML_RECORD_SHIFT | block->id));
        }
        for (; operand < operands_end && operand->statement == i; operand++) {
            if (operand->first_of_slot && block->id != SITE_NONE)
                emit_slot(operand);
        }
        append(statement);
    }
    if (inside)
        emit_block_end(block);
    /* longjmp and landing exceptions end in an indirect jump. */
    if (in->jumpkind == Ijk_Ret || (in->jumpkind == Ijk_Boring && in->next->tag != Iex_Const))
        emit_return_check();
    return out;
}
