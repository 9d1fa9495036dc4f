"""The contract on one side, the use cases on the other: conversion only."""
