//! `tiersim explore`: a page on this machine that answers while its reader looks and plays.
