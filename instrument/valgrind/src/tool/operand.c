/* What a superblock accesses: its blocks, their memory operands, and the slots that carry the operands' addresses.
 *
 * VEX tells loads, stores, compare-and-swaps and helper calls with memory effects. What one instruction does at one
 * place is put together again: lanes that VEX split, a load and a store of the same bytes.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "memloupe_tool.h"

static struct plan plan;
static UInt block_room, operand_room;

/* What is known of a temporary: value = root + displacement. */
struct value {
    IRTemp root;
    Long displacement;
    Int if_then_else; /* the statement that makes it of two others, -1 if none does */
};

static struct value *values;
static UInt value_room;

/* State of the walk over the statements. */
static const IRSB *code;
static Int instruction_start; /* statement of the last instruction mark */
static UInt instruction_operands; /* index of the first operand of the instruction */
static Addr instruction, instruction_end;

static void *grow(void *array, UInt needed, UInt *room, SizeT element_bytes)
{
    if (needed <= *room)
        return array;
    *room = 2 * needed;
    return VG_(realloc)("memloupe.plan", array, *room * element_bytes);
}

static struct value value_of(const IRExpr *atom)
{
    if (atom->tag == Iex_RdTmp)
        return values[atom->Iex.RdTmp.tmp];
    tl_assert(atom->tag == Iex_Const && atom->Iex.Const.con->tag == Ico_U64);
    return (struct value){IRTemp_INVALID, atom->Iex.Const.con->Ico.U64, -1};
}

static void define(IRTemp temp, const IRExpr *expression, Int statement)
{
    struct value *value = &values[temp];
    *value = (struct value){temp, 0, -1};
    if (typeOfIRTemp(code->tyenv, temp) != Ity_I64)
        return;
    switch (expression->tag) {
    case Iex_RdTmp:
        *value = values[expression->Iex.RdTmp.tmp];
        break;
    case Iex_ITE:
        value->if_then_else = statement;
        break;
    case Iex_Binop: {
        IROp op = expression->Iex.Binop.op;
        const IRExpr *left = expression->Iex.Binop.arg1, *right = expression->Iex.Binop.arg2;
        if (op == Iop_Add64 && left->tag == Iex_Const) {
            const IRExpr *swapped = left;
            left = right;
            right = swapped;
        }
        if ((op != Iop_Add64 && op != Iop_Sub64) || left->tag != Iex_RdTmp || right->tag != Iex_Const)
            break;
        Long constant = right->Iex.Const.con->Ico.U64;
        value->root = values[left->Iex.RdTmp.tmp].root;
        value->displacement =
            values[left->Iex.RdTmp.tmp].displacement + (op == Iop_Add64 ? constant : -constant);
        break;
    }
    default:
        break;
    }
}

static struct block *current_block(void)
{
    return &plan.blocks[plan.block_count - 1];
}

static void open_block(Int statement, Addr address)
{
    plan.blocks = grow(plan.blocks, plan.block_count + 1, &block_room, sizeof *plan.blocks);
    plan.blocks[plan.block_count++] = (struct block){
        .first_statement = statement, .address = address, .first_operand = plan.operand_count, .id = SITE_NONE};
    instruction_operands = plan.operand_count;
}

static Bool overlap_or_touch(const struct operand *a, const struct operand *b)
{
    return a->displacement <= b->displacement + b->bytes && b->displacement <= a->displacement + a->bytes;
}

static void remove_operand(UInt index)
{
    plan.operand_count--;
    for (UInt i = index; i < plan.operand_count; i++)
        plan.operands[i] = plan.operands[i + 1];
}

/* Joins `b` to `a` if they are parts of one access. */
static Bool join(struct operand *a, const struct operand *b)
{
    if (a->guard != NULL || b->guard != NULL || a->root != b->root)
        return False;
    if (a->kind == b->kind && overlap_or_touch(a, b)) {
        Long end = a->displacement + a->bytes;
        if (b->displacement + b->bytes > end)
            end = b->displacement + b->bytes;
        if (b->displacement < a->displacement)
            a->displacement = b->displacement;
        a->bytes = end - a->displacement;
        return True;
    }
    if (a->kind != b->kind && a->displacement == b->displacement && a->bytes == b->bytes) {
        a->kind = ML_READ_MODIFY_WRITE;
        return True;
    }
    return False;
}

/* Puts the accesses of one kind together first: a load and a store are one only if their whole extents agree. */
static void join_pairs(Bool same_kind)
{
    for (Bool again = True; again;) {
        again = False;
        for (UInt i = instruction_operands; i < plan.operand_count && !again; i++) {
            for (UInt k = i + 1; k < plan.operand_count && !again; k++) {
                if ((plan.operands[i].kind == plan.operands[k].kind) == same_kind &&
                    join(&plan.operands[i], &plan.operands[k])) {
                    remove_operand(k);
                    again = True;
                }
            }
        }
    }
}

static void end_instruction(void)
{
    join_pairs(True);
    join_pairs(False);
    instruction_operands = plan.operand_count;
}

/* Gives operands with one root one slot. */
static void assign_slots(struct block *block)
{
    struct operand *operands = &plan.operands[block->first_operand];
    for (UInt i = 0; i < block->operands; i++) {
        operands[i].first_of_slot = True;
        for (UInt k = 0; k < i && operands[i].guard == NULL; k++) {
            if (operands[k].guard == NULL && operands[k].root == operands[i].root) {
                operands[i].slot = operands[k].slot;
                operands[i].first_of_slot = False;
                break;
            }
        }
        if (operands[i].first_of_slot)
            operands[i].slot = block->slots++;
    }
}

static Bool is_prefix(UChar byte)
{
    switch (byte) {
    case 0x26: case 0x2e: case 0x36: case 0x3e: case 0x64: case 0x65: case 0x66: case 0x67: case 0xf2: case 0xf3:
        return True;
    default:
        return byte >> 4 == 4; /* REX */
    }
}

/* The flag of a block whose last instruction this is, from its opcode. */
static UInt ending(Addr start, Addr end)
{
    const UChar *byte = (const UChar *)start, *last = (const UChar *)end - 1;
    while (byte < last && is_prefix(*byte))
        byte++;
    if (*byte == 0xe8 || (*byte == 0xff && byte < last && (byte[1] >> 3 & 7) == 2))
        return ML_BLOCK_CALL;
    return *byte == 0xc3 || *byte == 0xc2 ? ML_BLOCK_RETURN : 0;
}

static void close_block(Int statement)
{
    struct block *block = current_block();
    end_instruction();
    block->end_statement = statement;
    block->operands = plan.operand_count - block->first_operand;
    if (block->operands == 0 && block->instructions == 0) {
        plan.block_count--;
        return;
    }
    block->flags = block->instructions > 0 ? ending(instruction, instruction_end) : 0;
    assign_slots(block);
}

static void add(Int statement, IRExpr *address, IRExpr *guard, UInt bytes, enum ml_kind kind)
{
    struct value value = value_of(address);
    /* A gather reads through "mask ? element : stack pointer" and drops what it did not want. */
    if (guard == NULL && value.if_then_else >= instruction_start) {
        const IRExpr *choice = code->stmts[value.if_then_else]->Ist.WrTmp.data;
        guard = choice->Iex.ITE.cond;
        address = choice->Iex.ITE.iftrue;
    }
    plan.operands = grow(plan.operands, plan.operand_count + 1, &operand_room, sizeof *plan.operands);
    plan.operands[plan.operand_count++] = (struct operand){
        .statement = statement,
        .instruction = instruction,
        .root = value.root,
        .displacement = guard != NULL ? 0 : value.displacement,
        .address = address,
        .guard = guard,
        .bytes = bytes,
        .kind = kind,
    };
}

static UInt size_of(const IRExpr *data)
{
    return sizeofIRType(typeOfIRExpr(code->tyenv, data));
}

static IRExpr *unless_always(IRExpr *guard)
{
    return guard->tag == Iex_Const && guard->Iex.Const.con->Ico.U1 ? NULL : guard;
}

static void add_guarded_load(Int statement, const IRLoadG *load)
{
    IRType result, loaded;
    typeOfIRLoadGOp(load->cvt, &result, &loaded);
    add(statement, load->addr, unless_always(load->guard), sizeofIRType(loaded), ML_LOAD);
}

static void add_dirty(Int statement, const IRDirty *call)
{
    static const enum ml_kind kinds[] = {
        [Ifx_Read - Ifx_None] = ML_LOAD,
        [Ifx_Write - Ifx_None] = ML_STORE,
        [Ifx_Modify - Ifx_None] = ML_READ_MODIFY_WRITE,
    };
    if (call->mFx != Ifx_None)
        add(statement, call->mAddr, unless_always(call->guard), call->mSize, kinds[call->mFx - Ifx_None]);
}

static void mark(Int statement, const IRStmt *imark)
{
    Addr address = imark->Ist.IMark.addr;
    /* A probe reports between the records of two blocks. */
    if (plan.block_count == 0 || address != instruction_end || probe_at(address) != NULL) {
        if (plan.block_count > 0)
            close_block(statement);
        open_block(statement, address);
    } else {
        end_instruction();
    }
    struct block *block = current_block();
    instruction = address;
    instruction_start = statement;
    instruction_end = address + imark->Ist.IMark.len;
    block->instructions++;
    block->code_bytes = instruction_end - block->address;
}

static void walk(Int statement, const IRStmt *stmt)
{
    switch (stmt->tag) {
    case Ist_IMark:
        mark(statement, stmt);
        break;
    case Ist_WrTmp:
        define(stmt->Ist.WrTmp.tmp, stmt->Ist.WrTmp.data, statement);
        current_block()->flops += flops_of(stmt->Ist.WrTmp.data);
        if (stmt->Ist.WrTmp.data->tag == Iex_Load)
            add(statement, stmt->Ist.WrTmp.data->Iex.Load.addr, NULL,
                sizeofIRType(stmt->Ist.WrTmp.data->Iex.Load.ty), ML_LOAD);
        break;
    case Ist_Store:
        add(statement, stmt->Ist.Store.addr, NULL, size_of(stmt->Ist.Store.data), ML_STORE);
        break;
    case Ist_LoadG:
        add_guarded_load(statement, stmt->Ist.LoadG.details);
        break;
    case Ist_StoreG: {
        const IRStoreG *store = stmt->Ist.StoreG.details;
        add(statement, store->addr, unless_always(store->guard), size_of(store->data), ML_STORE);
        break;
    }
    case Ist_CAS: {
        const IRCAS *swap = stmt->Ist.CAS.details;
        UInt bytes = size_of(swap->dataLo) * (swap->dataHi != NULL ? 2 : 1);
        add(statement, swap->addr, NULL, bytes, ML_READ_MODIFY_WRITE);
        break;
    }
    case Ist_Dirty:
        add_dirty(statement, stmt->Ist.Dirty.details);
        break;
    case Ist_Exit:
        /* What is left of the instruction belongs to the next block. */
        close_block(statement);
        open_block(statement + 1, instruction_end);
        break;
    default:
        break;
    }
}

const struct plan *operand_plan(const IRSB *superblock, Int first_statement)
{
    code = superblock;
    plan.block_count = plan.operand_count = 0;
    values = grow(values, code->tyenv->types_used, &value_room, sizeof *values);
    /* Temporaries of the preamble and those that only helper calls and such define are their own roots. */
    for (Int i = 0; i < code->tyenv->types_used; i++)
        values[i] = (struct value){i, 0, -1};
    for (Int i = first_statement; i < code->stmts_used; i++)
        walk(i, code->stmts[i]);
    if (plan.block_count > 0)
        close_block(code->stmts_used);
    return &plan;
}
