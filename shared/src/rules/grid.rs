//! The cells of the map: which sector lies where, and which lie around it.
//! Knows nothing of warps.

use super::splitmix::SplitMix;
use super::universe::POSITION_MAX;

/// Cells of the map, one per sector, walked like an ox ploughs, so that consecutive sectors are neighbours.
pub(super) struct Grid {
    columns: usize,
    rows: usize,
}

impl Grid {
    pub(super) fn for_count(count: usize) -> Self {
        let columns = (1..).find(|side| side * side >= count).unwrap_or(1);
        Self { columns, rows: count.div_ceil(columns) }
    }

    fn cell(&self, index: usize) -> (usize, usize) {
        let (row, along) = (index / self.columns, index % self.columns);
        (if row.is_multiple_of(2) { along } else { self.columns - 1 - along }, row)
    }

    fn index_at(&self, column: usize, row: usize) -> usize {
        row * self.columns + if row.is_multiple_of(2) { column } else { self.columns - 1 - column }
    }

    /// Somewhere in the inner 70 % of the sector's cell.
    pub(super) fn place(&self, index: usize, random: &mut SplitMix) -> (i64, i64) {
        let (column, row) = self.cell(index);
        let mut inside = |cell: usize, cells: usize| {
            let (start, end) = (cell as i64 * 1_000 / cells as i64, (cell as i64 + 1) * 1_000 / cells as i64);
            let margin = (end - start) * 15 / 100;
            random.between(start + margin, (end - margin - 1).max(start + margin)).clamp(0, POSITION_MAX)
        };
        (inside(column, self.columns), inside(row, self.rows))
    }

    /// The sectors in the cells around a sector's.
    pub(super) fn around(&self, index: usize, count: usize) -> Vec<usize> {
        let (column, row) = self.cell(index);
        let columns = column.saturating_sub(1)..=(column + 1).min(self.columns - 1);
        let rows = row.saturating_sub(1)..=(row + 1).min(self.rows - 1);
        let cells = rows.flat_map(|row| columns.clone().map(move |column| self.index_at(column, row)));
        cells.filter(|other| *other != index && *other < count).collect()
    }
}
