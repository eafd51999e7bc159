//! Tables on disk: rows of a struct to and from a Parquet file, driven by one list of fields for both directions.
//!
//! Strings are dictionary-encoded and everything is compressed with zstd. Line sets are stored in the portable
//! serialization of 64-bit Roaring bitmaps, which other languages' Roaring libraries read too.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use memloupe_attribute::{LineSet, PortableWriter};
use parquet::basic::{Compression, ConvertedType, Repetition, Type as PhysicalType, ZstdLevel};
use parquet::column::reader::ColumnReaderImpl;
use parquet::column::writer::ColumnWriterImpl;
use parquet::data_type::{ByteArray, ByteArrayType, DataType, DoubleType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::{ColumnPath, Type};

use super::ProfileError;

/// Rows of a row group: bounds the memory that writing and reading need.
const ROW_GROUP_ROWS: usize = 1 << 16;

type Get<R, T> = dyn Fn(&R) -> T;
type Set<R, T> = dyn Fn(&mut R, T);

/// How one value of a row is read and set.
pub(crate) struct Cell<R, T> {
    get: Box<Get<R, T>>,
    set: Box<Set<R, T>>,
}

impl<R, T> Cell<R, T> {
    pub(crate) fn new(get: impl Fn(&R) -> T + 'static, set: impl Fn(&mut R, T) + 'static) -> Self {
        Self {
            get: Box::new(get),
            set: Box::new(set),
        }
    }
}

/// A cell by the type of its column.
pub(crate) enum Kind<R> {
    U32(Cell<R, u32>),
    OptionalU32(Cell<R, Option<u32>>),
    U64(Cell<R, u64>),
    F64(Cell<R, f64>),
    Text(Cell<R, String>),
    Lines(fn(&R) -> &LineSet, fn(&mut R, LineSet)),
    /// The row's own number: written for joins, not read back.
    Id,
}

/// A column of a table.
pub(crate) struct Field<R> {
    pub(crate) name: String,
    pub(crate) kind: Kind<R>,
}

impl<R> Field<R> {
    fn physical(&self) -> (PhysicalType, ConvertedType, Repetition) {
        match self.kind {
            Kind::U32(_) | Kind::Id => (PhysicalType::INT32, ConvertedType::UINT_32, Repetition::REQUIRED),
            Kind::OptionalU32(_) => (PhysicalType::INT32, ConvertedType::UINT_32, Repetition::OPTIONAL),
            Kind::F64(_) => (PhysicalType::DOUBLE, ConvertedType::NONE, Repetition::REQUIRED),
            Kind::U64(_) => (PhysicalType::INT64, ConvertedType::UINT_64, Repetition::REQUIRED),
            Kind::Text(_) => (
                PhysicalType::BYTE_ARRAY,
                ConvertedType::UTF8,
                Repetition::REQUIRED,
            ),
            Kind::Lines(..) => (
                PhysicalType::BYTE_ARRAY,
                ConvertedType::NONE,
                Repetition::REQUIRED,
            ),
        }
    }
}

/// Writes a table.
pub(crate) fn write<R>(path: &Path, fields: &[Field<R>], rows: &[R]) -> Result<(), ProfileError> {
    let failed = |source| ProfileError::Write {
        path: path.to_owned(),
        source,
    };
    let file = File::create_new(path).map_err(failed)?;
    write_to(&file, fields, rows).map_err(|error| failed(into_io(error)))?;
    // A file system may learn of a full disk or an exceeded quota only now.
    file.sync_all().map_err(failed)
}

fn write_to<R>(file: &File, fields: &[Field<R>], rows: &[R]) -> Result<(), ParquetError> {
    let mut properties = WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default()));
    let mut columns = Vec::new();
    for field in fields {
        let (physical, converted, repetition) = field.physical();
        let column = Type::primitive_type_builder(&field.name, physical)
            .with_converted_type(converted)
            .with_repetition(repetition)
            .build()?;
        columns.push(Arc::new(column));
        if matches!(field.kind, Kind::Lines(..)) {
            let path = ColumnPath::from(field.name.as_str());
            properties = properties
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_statistics_enabled(path, EnabledStatistics::None);
        }
    }
    let schema = Type::group_type_builder("row").with_fields(columns).build()?;
    let mut writer = SerializedFileWriter::new(file, Arc::new(schema), Arc::new(properties.build()))?;
    let mut first = 0;
    for rows in rows.chunks(ROW_GROUP_ROWS) {
        let mut group = writer.next_row_group()?;
        for field in fields {
            let mut column = group
                .next_column()?
                .ok_or_else(|| eof("a column of the schema"))?;
            match &field.kind {
                Kind::Id => {
                    let ids: Vec<i32> = (first..first + rows.len()).map(|id| id as i32).collect();
                    put::<Int32Type>(column.typed(), &ids, None)?;
                }
                Kind::U32(cell) => {
                    let values: Vec<i32> = rows.iter().map(|row| (cell.get)(row).cast_signed()).collect();
                    put::<Int32Type>(column.typed(), &values, None)?;
                }
                Kind::OptionalU32(cell) => {
                    let cells: Vec<Option<u32>> = rows.iter().map(|row| (cell.get)(row)).collect();
                    let levels: Vec<i16> = cells.iter().map(|cell| i16::from(cell.is_some())).collect();
                    let values: Vec<i32> = cells.into_iter().flatten().map(u32::cast_signed).collect();
                    put::<Int32Type>(column.typed(), &values, Some(&levels))?;
                }
                Kind::U64(cell) => {
                    let values: Vec<i64> = rows.iter().map(|row| (cell.get)(row).cast_signed()).collect();
                    put::<Int64Type>(column.typed(), &values, None)?;
                }
                Kind::F64(cell) => {
                    let values: Vec<f64> = rows.iter().map(|row| (cell.get)(row)).collect();
                    put::<DoubleType>(column.typed(), &values, None)?;
                }
                Kind::Text(cell) => {
                    let values: Vec<ByteArray> = rows
                        .iter()
                        .map(|row| (cell.get)(row).into_bytes().into())
                        .collect();
                    put::<ByteArrayType>(column.typed(), &values, None)?;
                }
                Kind::Lines(lines, _) => {
                    let mut writer = PortableWriter::default();
                    let places: Vec<_> = rows.iter().map(|row| writer.write(lines(row))).collect();
                    let all = ByteArray::from(writer.into_bytes());
                    let values: Vec<ByteArray> = (places.into_iter())
                        .map(|place| all.slice(place.start, place.len()))
                        .collect();
                    put::<ByteArrayType>(column.typed(), &values, None)?;
                }
            }
            column.close()?;
        }
        group.close()?;
        first += rows.len();
    }
    writer.close()?;
    Ok(())
}

fn put<T: DataType>(
    column: &mut ColumnWriterImpl<'_, T>,
    values: &[T::T],
    levels: Option<&[i16]>,
) -> Result<(), ParquetError> {
    column.write_batch(values, levels, None).map(|_| ())
}

/// Reads a table into rows that begin as `empty`. Columns that are not among the fields are skipped.
pub(crate) fn read<R>(
    path: &Path,
    fields: &[Field<R>],
    empty: impl Fn() -> R,
) -> Result<Vec<R>, ProfileError> {
    let file = File::open(path).map_err(|source| ProfileError::Read {
        file: path.to_owned(),
        source,
    })?;
    read_from(file, fields, empty).map_err(|error| match error {
        ParquetError::External(source) => ProfileError::Damaged {
            file: path.to_owned(),
            what: source.to_string(),
        },
        ParquetError::General(what) | ParquetError::EOF(what) => ProfileError::Damaged {
            file: path.to_owned(),
            what,
        },
        other => ProfileError::Damaged {
            file: path.to_owned(),
            what: other.to_string(),
        },
    })
}

fn read_from<R>(file: File, fields: &[Field<R>], empty: impl Fn() -> R) -> Result<Vec<R>, ParquetError> {
    let reader = SerializedFileReader::new(file)?;
    let schema = reader.metadata().file_metadata().schema_descr_ptr();
    let mut rows: Vec<R> = Vec::new();
    for group in 0..reader.num_row_groups() {
        let group = reader.get_row_group(group)?;
        let first = rows.len();
        let count = usize::try_from(group.metadata().num_rows())?;
        if count > ROW_GROUP_ROWS {
            return Err(ParquetError::General(format!("{count} rows in one row group")));
        }
        rows.resize_with(first + count, &empty);
        let rows = &mut rows[first..];
        for field in fields {
            if matches!(field.kind, Kind::Id) {
                continue;
            }
            let index = (0..schema.num_columns())
                .find(|index| schema.column(*index).name() == field.name)
                .ok_or_else(|| ParquetError::General(format!("no column {}", field.name)))?;
            let column = schema.column(index);
            let (physical, _, repetition) = field.physical();
            if column.physical_type() != physical
                || column.max_rep_level() != 0
                || column.max_def_level() != i16::from(repetition == Repetition::OPTIONAL)
            {
                return Err(ParquetError::General(format!(
                    "column {} has another type",
                    field.name
                )));
            }
            let pages = group.get_column_page_reader(index)?;
            match &field.kind {
                Kind::Id => {}
                Kind::U32(cell) => {
                    let (values, _) = take::<Int32Type>(ColumnReaderImpl::new(column, pages), count)?;
                    fill(rows, values, |row, value| (cell.set)(row, value.cast_unsigned()))?;
                }
                Kind::OptionalU32(cell) => {
                    let (values, levels) = take::<Int32Type>(ColumnReaderImpl::new(column, pages), count)?;
                    let mut values = values.into_iter().map(i32::cast_unsigned);
                    let cells: Vec<Option<u32>> = levels
                        .iter()
                        .map(|level| if *level == 1 { values.next() } else { None })
                        .collect();
                    fill(rows, cells, |row, value| (cell.set)(row, value))?;
                }
                Kind::U64(cell) => {
                    let (values, _) = take::<Int64Type>(ColumnReaderImpl::new(column, pages), count)?;
                    fill(rows, values, |row, value| (cell.set)(row, value.cast_unsigned()))?;
                }
                Kind::F64(cell) => {
                    let (values, _) = take::<DoubleType>(ColumnReaderImpl::new(column, pages), count)?;
                    fill(rows, values, |row, value| (cell.set)(row, value))?;
                }
                Kind::Text(cell) => {
                    let (values, _) = take::<ByteArrayType>(ColumnReaderImpl::new(column, pages), count)?;
                    let texts: Vec<String> = values
                        .iter()
                        .map(|bytes| bytes.as_utf8().map(str::to_owned))
                        .collect::<Result<_, _>>()?;
                    fill(rows, texts, |row, value| (cell.set)(row, value))?;
                }
                Kind::Lines(_, set) => {
                    let (values, _) = take::<ByteArrayType>(ColumnReaderImpl::new(column, pages), count)?;
                    let sets: Vec<LineSet> = values
                        .iter()
                        .map(|bytes| LineSet::from_portable(bytes.data()))
                        .collect::<io::Result<_>>()?;
                    fill(rows, sets, set)?;
                }
            }
        }
    }
    Ok(rows)
}

fn take<T: DataType>(
    mut column: ColumnReaderImpl<T>,
    count: usize,
) -> Result<(Vec<T::T>, Vec<i16>), ParquetError> {
    let (mut values, mut levels) = (Vec::new(), Vec::new());
    let mut done = 0;
    while done < count {
        let (records, _, _) = column.read_records(count - done, Some(&mut levels), None, &mut values)?;
        if records == 0 {
            return Err(eof("rows"));
        }
        done += records;
    }
    Ok((values, levels))
}

fn fill<R, T>(rows: &mut [R], values: Vec<T>, set: impl Fn(&mut R, T)) -> Result<(), ParquetError> {
    if rows.len() != values.len() {
        return Err(eof("values"));
    }
    rows.iter_mut()
        .zip(values)
        .for_each(|(row, value)| set(row, value));
    Ok(())
}

fn eof(what: &str) -> ParquetError {
    ParquetError::EOF(format!("{what} are missing"))
}

fn into_io(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(source) => match source.downcast::<io::Error>() {
            Ok(source) => *source,
            Err(source) => io::Error::other(source),
        },
        other => io::Error::other(other.to_string()),
    }
}
