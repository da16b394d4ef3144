//! Views of kinds, resource names, quantities, selectors, Status.
